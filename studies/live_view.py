"""How a running search looks on a terminal: a pure function of what is known of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from objectives.statistics import Interval
from search.feasibility import feasible, value_of
from search.racing import STOPPED
from studies.console import duration
from studies.sparkline import columns_of, sparkline
from studies.trial_facts import COPY_OF, spent, standing_of

if TYPE_CHECKING:
    from rich.console import RenderableType

_LAST = 6  # trials
_ABOVE = 11  # lines of a terminal that are not for trials
_LABEL, _ENDS = 8, 16  # columns: of titles, of " 12.3 to 100.0" behind a sparkline


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """What a running search shows.

    Attributes:
        title: of the search.
        scores: of its finished trials, in order; None of one that failed.
        budget: the number of trials at which it ends, or None.
        best: the best trial so far.
        interval: of its score on the selection split; None where it is not known.
        shrunken: what is believed of its score; None where it cannot be told.
        front: what a front of several values has come to; empty where none is searched.
        last: the last trials, the newest last.
        per_hour: trials per hour of this run.
        gone_s: seconds that this run has searched.
        left_s: seconds until the search ends, roughly; None where it cannot be told.
        stopped: trials that racing stopped.
        saved: the share of examples that racing saved.
        memory: what is in use, in words.
    """

    title: str
    scores: Sequence[float | None]
    budget: int | None = None
    best: FrozenTrial | None = None
    interval: Interval | None = None
    shrunken: float | None = None
    front: str = ""
    last: Sequence[FrozenTrial] = ()
    per_hour: float = 0.0
    gone_s: float = 0.0
    left_s: float | None = None
    stopped: int = 0
    saved: float = 0.0
    memory: str = ""


def view(
    facts: LiveFacts, width: int, height: int, *, ascii_only: bool = False
) -> "RenderableType":
    """The view of a search.

    Args:
        facts: what is known of it.
        width: columns of the terminal.
        height: its lines; there are fewer trials where it is low.
        ascii_only: no other characters may be drawn.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_LABEL, style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, content in _lines(facts, width - _LABEL - 1, ascii_only=ascii_only):
        grid.add_row(label, content)
    shown = max(1, min(_LAST, height - _ABOVE))
    if facts.last:
        grid.add_row("last", _trials(facts.last[-shown:], width - _LABEL - 1))
    return Group(Text(facts.title, style="bold", overflow="fold"), grid)


def _lines(
    facts: LiveFacts, width: int, *, ascii_only: bool
) -> Iterator[tuple[str, "RenderableType"]]:
    """Label and content of each line above the last trials."""
    from rich.text import Text

    yield "trials", Text(_count(facts))
    yield "time", _time(facts, width)
    if facts.front:
        yield "front", Text(facts.front, style="bold")
    yield "best", _best(facts)
    columns = columns_of(facts.scores, width - _ENDS)
    if known := [score for score in columns if score is not None]:
        line = Text(sparkline(columns, ascii_only=ascii_only), style="cyan", no_wrap=True)
        ends = f" {100 * min(known):.1f} to {100 * max(known):.1f}"
        yield "scores", line.append(ends, style="default")
    if facts.stopped:
        saved = (
            f"{facts.stopped} trials stopped early, {100 * facts.saved:.0f} % of examples saved"
        )
        yield "racing", Text(saved)
    if facts.memory:
        yield "memory", Text(facts.memory)


def _count(facts: LiveFacts) -> str:
    failed = sum(score is None for score in facts.scores)
    of = f" of {facts.budget}" if facts.budget is not None else ""
    pace = f", {facts.per_hour:,.0f} an hour" if facts.per_hour else ""
    return f"{len(facts.scores)}{of}{f', {failed} failed' if failed else ''}{pace}"


def _time(facts: LiveFacts, width: int) -> "RenderableType":
    """Gone and left, and a bar behind them where there is room."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    left = "time left unknown" if facts.left_s is None else f"{duration(facts.left_s)} left"
    text = f"{duration(facts.gone_s)} gone, {left} (h:m:s)"
    share = _share(facts)
    room = min(30, width - len(text) - 2)
    if share is None or room < 10:
        return Text(text)
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(Text(text), ProgressBar(total=1.0, completed=share, width=room))
    return line


def _share(facts: LiveFacts) -> float | None:
    """How much of the search is done: of its trials, or else of its time."""
    if facts.budget:
        return min(1.0, len(facts.scores) / facts.budget)
    if facts.left_s is None:
        return None
    return facts.gone_s / max(1e-9, facts.gone_s + facts.left_s)


def _best(facts: LiveFacts) -> "RenderableType":
    """Said as `mergetuna status` says it."""
    from rich.text import Text

    best = facts.best
    if best is None:
        return Text("none yet")
    text = Text(f"{100 * (value_of(best) or 0.0):.1f}", style="bold green")
    if facts.interval is not None:
        text.append(f" [{100 * facts.interval.low:.1f}, {100 * facts.interval.high:.1f}]")
    rest = f" on selection, trial {best.number}; too high by luck"
    if facts.shrunken is not None:
        rest += f" ({100 * facts.shrunken:.1f} when shrunken)"
    if standing := standing_of(best):
        rest += f"; guards: {standing}"
    if not feasible(best):
        rest += ", no trial holds the guards yet"
    return text.append(rest, style="not bold default")


def _trials(trials: Sequence[FrozenTrial], width: int) -> "RenderableType":
    """The newest first; a text, for a table of rich's takes twice as long to draw."""
    from rich.text import Text

    rows = [
        (
            str(trial.number),
            " ".join(f"{100 * value:.1f}" for value in trial.values or ()) or "failed",
            str(trial.user_attrs["source"]),
            f"{spent(trial):.1f} s",
        )
        for trial in trials
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for trial, row in zip(trials, rows, strict=True):
        number, score, source, seconds = (c.rjust(w) for c, w in zip(row, widths, strict=True))
        line = Text(f"{number}  {score}  {source.lstrip():<{widths[2]}}  {seconds}")
        line.stylize("" if trial.values else "red")
        line.append(f"  {_remark(trial)}", style="dim")
        line.truncate(width)
        lines.append(line)
    return Text("\n").join(reversed(lines))


def _remark(trial: FrozenTrial) -> str:
    """Why it failed, that it was not scored in full, or how it stands to its guards."""
    own = trial.user_attrs
    if not trial.values:
        return " ".join(str(own.get("reason", "")).split())
    if STOPPED in own:
        return f"stopped by racing after {own[STOPPED]} examples"
    return f"as trial {own[COPY_OF]}" if COPY_OF in own else standing_of(trial)
