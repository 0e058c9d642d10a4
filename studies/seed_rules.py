"""What a study file may say of the seeds of random masks."""

from collections.abc import Sequence
from typing import Any

from merge_ops.method import Method
from merge_ops.settings_yaml import Problems
from merge_ops.yaml_file import Location
from search.naming import SEED
from studies.search_config import SearchConfig


def seed_problems(ops: Sequence[Method], content: Sequence[Any], place: Location) -> Problems:
    """What is wrong with a list of seeds."""
    if not _drawn(ops):
        return [(place, f"search.choices.{SEED}: {_idle(ops)}")]
    return [
        (
            (*place, i),
            f"search.choices.{SEED}.{i}: a seed is a whole number from 0 to 2^63 - 1, "
            f"but is {value!r}",
        )
        for i, value in enumerate(content)
        if type(value) is not int or not 0 <= value < 2**63
    ]


def average_problems(search: SearchConfig, ops: Sequence[Method]) -> Problems:
    """Whether candidates can be averaged over seeds."""
    if search.average_seeds is None:
        return []
    key = "search.average_seeds"
    place: Location = ("search", "average_seeds")
    if not _drawn(ops):
        return [(place, f"{key}: {_idle(ops)}")]
    if SEED in search.choices:
        return [(place, f"{key}: seeds are chosen (search.choices.{SEED}) or averaged, not both")]
    return []


def _drawn(ops: Sequence[Method]) -> bool:
    """Whether any method draws random masks."""
    return any(getattr(op, "random", False) for op in ops)


def _idle(ops: Sequence[Method]) -> str:
    title = " or ".join(op.name for op in ops)
    return f"{title} draws no random masks; leave this key out"
