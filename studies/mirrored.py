"""The tracker of one run of a study."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from studies.console import warn
from studies.particulars import Particulars
from studies.setup import StudyFile
from studies.tracking import Mirror
from studies.tracking_address import tracking_uri
from studies.tracking_summary import Summary

_PATIENCE, _HASTE = 60.0, 10.0
"""Seconds that the tracker may take to catch up at the end of a finished or a stopped study."""


class Mirrored:
    """The tracker of one run, or nothing where tracking is off.

    Attributes:
        summary: set when the study is finished; mirrored at the end.
    """

    def __init__(self, study: StudyFile) -> None:
        self.summary: Summary | None = None
        self._trials: Sequence[FrozenTrial] = ()
        self._mirror: Mirror | None = None
        self._advice = f"`mergetuna sync {study.out}` fills in the rest."
        tracking = study.config.tracking
        if tracking.enabled:
            uri = tracking_uri(tracking.uri, study.out.parent)
            tags = {"study": study.config.name, "sampler": study.config.sampler}
            system = tracking.system_metrics is not False
            self._mirror = Mirror(
                uri, study.config.name, lambda: self._trials, tags, system=system
            )

    def __enter__(self) -> "Mirrored":
        if self._mirror is not None:
            self._mirror.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the tracker a while to catch up, even where the study was stopped."""
        if self._mirror is None:
            return
        status = self._mirror.finish(_PATIENCE if self.summary else _HASTE, self.summary)
        if not status.complete:
            warn(f"tracking: {status}; {self._advice}")
        elif status.refused:
            warn(f"tracking: {status}.")

    def describe(self, told: Particulars) -> None:
        """Say what the study is, before `on_trial`."""
        if self._mirror is not None:
            self._mirror.describe(told)

    def on_trial(self, trials: Sequence[FrozenTrial]) -> None:
        """Let the tracker know of new trials."""
        self._trials = trials
        if self._mirror is not None:
            self._mirror.notify()
