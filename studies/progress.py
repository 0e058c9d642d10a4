"""How a search shows itself: a live table on a terminal, plain lines in a log."""

import time
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial

from search.feasibility import feasible, order, value_of
from search.front import is_front
from studies.console import warn
from studies.front_words import front_so_far
from studies.trial_facts import spent
from studies.voice import draws, event, spoken_to

_LINES = 10  # plain lines for a whole search


class Progress:
    """Shows best, last, trials per hour and the time left of one search."""

    def __init__(
        self, name: str, title: str, done: Sequence[FrozenTrial], total: int | None
    ) -> None:
        """Show a search.

        Args:
            name: of the search, for events.
            title: for people.
            done: the trials of earlier runs.
            total: the budget, if it is in trials.
        """
        self._name = name
        self._title = title
        self._total = total
        self._trials = list(done)
        self._begun = time.monotonic()
        self._new = 0
        self._live: Any = None

    def __enter__(self) -> "Progress":
        if draws():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self._table(), console=Console(stderr=True), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self._table())
            self._live.stop()

    def on_trial(self, trial: FrozenTrial) -> None:
        """Show one more finished trial."""
        before = self._best()
        self._trials.append(trial)
        self._new += 1
        self._tell(trial, before)
        if self._live is not None:
            self._live.update(self._table())
        elif spoken_to() and len(self._trials) % max(1, (self._total or 100) // _LINES) == 0:
            warn(self._line())

    def _tell(self, trial: FrozenTrial, before: FrozenTrial | None) -> None:
        """As events: the trial, and that it is the best so far."""
        facts = {"search": self._name, "trial": trial.number, "value": value_of(trial)}
        more = {
            "state": trial.state.name,
            "source": trial.user_attrs["source"],
            "seconds": round(spent(trial), 3),
            "reason": trial.user_attrs.get("reason"),
            "finished": len(self._trials),
            "budget": self._total,
        }
        event("trial", facts | more)
        if self._best() is trial and before is not trial:
            event("best", facts)

    def _best(self) -> FrozenTrial | None:
        return min((t for t in self._trials if value_of(t) is not None), key=order, default=None)

    def _rate(self) -> float:
        """New trials per second."""
        return self._new / max(1e-9, time.monotonic() - self._begun)

    def _left(self) -> str:
        if self._total is None or not self._new:
            return "-"
        left = max(0, self._total - len(self._trials)) / self._rate()
        return f"{int(left // 60)}:{int(left % 60):02d}"

    def _line(self) -> str:
        best = self._best()
        shown = "none" if best is None else f"{value_of(best):.3f} (trial {best.number})"
        if is_front(self._trials):
            shown = front_so_far(self._trials)
        if best is not None and not feasible(best):
            shown += ", no trial holds the guards yet"
        return (
            f"{self._title}: {len(self._trials)}/{self._total or '?'} trials, best {shown}, "
            f"{self._rate() * 3600:.0f} trials/h, {self._left()} left"
        )

    def _table(self) -> Any:
        from rich.table import Table

        best, last = self._best(), self._trials[-1] if self._trials else None
        table = Table(title=self._title, title_justify="left")
        for column in ("trials", "best", "last", "proposed by", "trials/h", "left (m:s)"):
            table.add_column(column, justify="right")
        table.add_row(
            f"{len(self._trials)}/{self._total or '?'}",
            front_so_far(self._trials)
            if is_front(self._trials)
            else "-"
            if best is None
            else f"{value_of(best):.4f} (#{best.number})",
            "-" if last is None or value_of(last) is None else f"{value_of(last):.4f}",
            "-" if last is None else str(last.user_attrs["source"]),
            f"{self._rate() * 3600:.0f}",
            self._left(),
        )
        return table
