"""A search's trials and points in flight, as the sampler of one stage sees them."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.in_flight import AFTER, Pending, after_of
from search.tying import Tied

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class StageTrials:
    """Those that a stage's tied space holds, in its terms: values, own tags, and numbers."""

    def __init__(self, tied: Tied, stage: int) -> None:
        """Args: `stage` is its number, which stands before its sampler's tags."""
        self.tied = tied
        self._front = f"{stage}."
        self._trials: list[FrozenTrial] = []
        self._places: list[int] = []
        self._seen = 0

    def finished(self, trials: Sequence["FrozenTrial"]) -> Sequence["FrozenTrial"]:
        """The finished ones.

        Args:
            trials: all of the search; those of the call before, and further ones.
        """
        for place in range(self._seen, len(trials)):
            trial = trials[place]
            tags = {**self._tags(trial.user_attrs), AFTER: self._after(after_of(trial))}
            own = self.tied.trial(trial, tags)
            if own is not None:
                self._trials.append(own)
                self._places.append(place)
        self._seen = len(trials)
        return self._trials

    def flying(self, pending: Sequence[Pending]) -> list[Pending]:
        """Those in flight; asked after `finished`."""
        found = [(point, self.tied.gather(point.values)) for point in pending]
        return [
            Pending(point.serial, self._after(point.after), values, self._tags(point.tags))
            for point, values in found
            if values is not None
        ]

    def _after(self, count: int) -> int:
        """How many of the first `count` trials the space holds."""
        return bisect_left(self._places, count)

    def _tags(self, tags: Mapping[str, Any]) -> dict[str, Any]:
        """Of all samplers' tags the own ones alone."""
        return {
            key.removeprefix(self._front): value
            for key, value in tags.items()
            if key.startswith(self._front) or not key.split(".")[0].isdigit()
        }
