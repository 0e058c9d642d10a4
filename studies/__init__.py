"""A study from YAML to recipe: its loop, ledger, tracking, export and command line."""

from studies.study import Study

__all__ = ["Study"]
