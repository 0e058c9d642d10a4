"""How a search shows itself: a live view on a terminal, plain lines in a log, events."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from search.feasibility import feasible, value_of
from search.front import is_front
from studies.budget import Limits, items_scored
from studies.console import warn
from studies.front_words import front_so_far
from studies.live_figures import LiveFigures, memory_words
from studies.live_view import LiveFacts, view
from studies.painter import Painter
from studies.tally import Tally
from studies.trial_facts import spent
from studies.voice import draws, event, spoken_to

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_LINES = 10  # plain lines for a whole search
_RECENT = 20  # trials by which the pace is told before this run has one of its own


class Progress:
    """Shows the best, the last trials and the time left of one search."""

    def __init__(
        self,
        name: str,
        title: str,
        done: Sequence[FrozenTrial],
        limits: Limits,
        about: Mapping[str, Any],
    ) -> None:
        """Show a search.

        Args:
            name: of the search, for events.
            title: for people.
            done: the trials of earlier runs.
            limits: when it ends.
            about: as `studies.about.read_about` gives it, for intervals.
        """
        self._name = name
        self._title = title
        self._limits = limits
        known = about.get("objectives", {}).values()
        self._tally = Tally(sum(len(own["categories"]) for own in known))
        self._tally.add(done)
        self._begun = self._told = time.monotonic()
        self._new = 0
        self._figures = LiveFigures(about)
        self._painter = ExitStack()
        self._drawn = self._ending = False

    def __enter__(self) -> "Progress":
        self._drawn = draws()
        if self._drawn:
            self._painter.enter_context(Painter(self._view))
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._painter.close()

    def on_trial(self, trial: FrozenTrial) -> None:
        """Show one more finished trial."""
        before = self._tally.best
        self._tally.add([trial])
        self._new += 1
        self._told = time.monotonic()
        self._tell(trial, before)
        done = len(self._tally.trials)
        every = max(1, (self._limits.trials or 100) // _LINES)
        if not self._drawn and spoken_to() and done % every == 0:
            warn(self._line())

    def _tell(self, trial: FrozenTrial, before: FrozenTrial | None) -> None:
        """As events: the trial, and that it is the best so far."""
        facts = {"search": self._name, "trial": trial.number, "value": value_of(trial)}
        more = {
            "state": trial.state.name,
            "source": trial.user_attrs["source"],
            "seconds": round(spent(trial), 3),
            "reason": trial.user_attrs.get("reason"),
            "finished": len(self._tally.trials),
            "budget": self._limits.trials,
        }
        event("trial", facts | more)
        if self._tally.best is trial and before is not trial:
            event("best", facts)

    def _rate(self) -> float:
        """New trials per second, up to the last of them."""
        return self._new / max(1e-9, self._told - self._begun)

    def _left(self) -> float | None:
        """Seconds until the first of its limits that can be foretold."""
        limits, now = self._limits, time.monotonic()
        ends = [] if limits.deadline is None else [max(0.0, limits.deadline - now)]
        pace, trials = self._pace(), self._tally.trials
        if pace is not None:
            to_do = [] if limits.trials is None else [float(limits.trials - len(trials))]
            if limits.items is not None and (items := items_scored(trials)):
                to_do.append((limits.items - items) * len(trials) / items)
            under_way = min(pace, now - self._told)
            ends += [max(0.0, count * pace - under_way) for count in to_do]
        return min(ends, default=None)

    def _pace(self) -> float | None:
        """Seconds a trial, of this run or else of the last of earlier ones; None before any."""
        if self._new:
            return 1 / self._rate()
        recent = self._tally.trials[-_RECENT:]
        return sum(map(spent, recent)) / len(recent) if recent else None

    def _line(self) -> str:
        best, done, left = self._tally.best, self._tally.trials, self._left()
        shown = "none" if best is None else f"{value_of(best):.3f} (trial {best.number})"
        if is_front(done):
            shown = front_so_far(done)
        if best is not None and not feasible(best):
            shown += ", no trial holds the guards yet"
        time_left = "-" if left is None else f"{int(left // 60)}:{int(left % 60):02d}"
        return (
            f"{self._title}: {len(done)}/{self._limits.trials or '?'} trials, best {shown}, "
            f"{self._rate() * 3600:.0f} trials/h, {time_left} left"
        )

    def _view(self, console: "Console") -> "RenderableType":
        """What is drawn; called from the painter's thread."""
        tally, figures = self._tally, self._figures
        figures.follow(tally, at_once=self._ending)
        known = figures.best is tally.best
        facts = LiveFacts(
            title=self._title,
            scores=tally.scores,
            budget=self._limits.trials,
            best=tally.best,
            interval=figures.interval if known else None,
            shrunken=figures.shrunken if known else None,
            front=figures.front,
            last=tally.trials[-_RECENT:],
            per_hour=3600 * self._rate(),
            gone_s=time.monotonic() - self._begun,
            left_s=self._left(),
            stopped=tally.stopped,
            saved=tally.saved,
            memory=memory_words(),
        )
        size = console.size
        plain = not console.encoding.lower().startswith("utf")
        return view(facts, size.width, size.height, ascii_only=plain)
