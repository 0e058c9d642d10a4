"""The tracker of one run of a study."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from studies.console import warn
from studies.setup import StudyFile
from studies.tracking import Mirror, Summary, tracking_uri

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
        if study.config.tracking.enabled:
            uri = tracking_uri(study.config.tracking.uri, study.out.parent)
            tags = {"study": study.config.name, "sampler": study.config.sampler}
            self._mirror = Mirror(uri, study.config.name, lambda: self._trials, tags)

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
            warn(f"tracking: {status}")

    def on_trial(self, trials: Sequence[FrozenTrial]) -> None:
        """Let the tracker know of new trials."""
        self._trials = trials
        if self._mirror is not None:
            self._mirror.notify()
