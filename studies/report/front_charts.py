"""Charts of values against each other: of objectives, and of a front with its hypervolume."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from optuna.trial import FrozenTrial

from search.feasibility import feasible, value_of
from search.front import front_of, growth, undominated
from search.naming import WARM
from studies.report.charts import percent
from studies.report.drawing import (
    BEST,
    INK,
    PALE,
    POINT,
    Chart,
    hollow,
    legend,
    new_figure,
    scatter,
    up_to_hundred,
)
from studies.report.markup import table
from studies.trial_facts import figures_of, named_values

_PAIRS = 3
_MARKS = "sD^vP*X"

Front = Mapping[str, Any]
"""The front of a study that has ended, as `results.json` holds it."""


def front_charts(trials: Sequence[FrozenTrial], front: Front | None) -> list[Chart]:
    """For each two values: all trials on selection, and the points of the confirm split."""
    names = next((list(named_values(t)) for t in trials if t.values), [])
    pairs = list(combinations(names, 2))[:_PAIRS]
    drawn = []
    for i, pair in enumerate(pairs):
        drawn.append(_selection(trials, front, pair, i))
        if front is not None and front["points"]:
            drawn.append(_confirm(front, pair, i))
    return drawn


def pair_chart(trials: Sequence[FrozenTrial], number: int, pair: tuple[str, str]) -> Chart:
    """Two objectives against each other; those that no other trial beats on both are marked."""
    figure, axis = new_figure()
    one, other = pair
    points = [(t, figures_of(t)) for t in trials if value_of(t) is not None]
    points = [(t, p) for t, p in points if one in p and other in p]
    best = undominated([(p[one], p[other]) for _, p in points])
    all_x, all_y = [100 * p[one] for _, p in points], [100 * p[other] for _, p in points]
    scatter(axis, all_x, all_y, PALE, "trials")
    chosen = sorted((points[i] for i in best), key=lambda item: item[1][one])
    x, y = [100 * p[one] for _, p in chosen], [100 * p[other] for _, p in chosen]
    axis.plot(x, y, "o-", color=BEST, ms=5, lw=1, label="beaten on both by none")
    axis.set(xlabel=f"{one}, %", ylabel=f"{other}, %")
    up_to_hundred(axis, all_x, all_y)
    legend(axis)
    return Chart(
        f"front-{number}",
        f"Objectives: {one} against {other} on the selection split.",
        f"Scatter of {len(points)} trials; {len(chosen)} of them are beaten on both by none, from "
        f"{x[0]:.1f} and {y[0]:.1f} to {x[-1]:.1f} and {y[-1]:.1f}.",
        figure,
        ("trial", f"{one} %", f"{other} %"),
        [(str(t.number), percent(p[one]), percent(p[other])) for t, p in chosen],
    )


def volume_chart(searches: Mapping[str, Sequence[FrozenTrial]]) -> Chart:
    """The hypervolume of the front over trials, one line per search."""
    figure, axis = new_figure()
    rows, ends = [], []
    for (title, trials), (colour, dashes) in zip(
        searches.items(), ((BEST, "-"), (POINT, "--")), strict=False
    ):
        volumes = growth(trials)
        numbers = [t.number for t in trials]
        axis.step(numbers, volumes, where="post", color=colour, ls=dashes, label=title)
        ends.append(f"{title}: {volumes[-1]:.3f} after {len(volumes)} trials")
        rows += [
            (title, str(n), f"{v:.4f}")
            for n, v, before in zip(numbers, volumes, [0.0, *volumes], strict=False)
            if v > before
        ]
    axis.set(xlabel="trial", ylabel="hypervolume of the front")
    axis.xaxis.get_major_locator().set_params(integer=True)  # there is no trial 0.5
    legend(axis)
    return Chart(
        "hypervolume",
        "Hypervolume of the front on the selection split, above 0 in every value.",
        f"Lines of hypervolume over trials. {'; '.join(ends)}.",
        figure,
        ("search", "trial", "hypervolume"),
        rows,
    )


def front_table(results: Mapping[str, Any] | None) -> str:
    """The points of the front by split, and their recipes; empty where there is none."""
    front = (results or {}).get("front")
    if front is None or not front["points"]:
        return ""
    names, splits = list(front["values"]), ("selection", "confirm", "test")
    rows = [
        (
            f"point {one['point']}, trial {one['trial']}",
            *(" / ".join(percent(one[split][name]) for split in splits) for name in names),
            one["recipe"],
        )
        for one in front["points"]
    ]
    titles = ("", *(f"{name}: selection / confirm / test %" for name in names), "recipe")
    marked = frozenset(i for i, one in enumerate(front["points"]) if one["found"])
    return table(titles, rows, marked=marked)


def _selection(
    trials: Sequence[FrozenTrial], front: Front | None, pair: tuple[str, str], number: int
) -> Chart:
    """All trials, what breaks a guard hollow, the front as a line, and the parents."""
    figure, axis = new_figure(height=3.6)
    points = [(t, named_values(t)) for t in trials if t.values]
    for warm, colour, label in ((True, PALE, "published grid"), (False, POINT, "searched")):
        kept = [(t, p) for t, p in points if feasible(t)]
        own = [p for t, p in kept if (t.user_attrs["source"] == WARM) == warm]
        if own:
            scatter(axis, *_axes(own, pair), colour, label)
    broken = [p for t, p in points if not feasible(t)]
    if broken:
        hollow(axis, *_axes(broken, pair), "guards not held")
    found = front_of(trials)
    own = sorted((named_values(t) for t in found), key=lambda p: p[pair[0]])
    axis.plot(*_axes(own, pair), "o-", color=BEST, ms=5, lw=1, label="beaten by none")
    parents = _parents(axis, front, pair, "selection")
    _finish(axis, pair)
    return Chart(
        f"front-{number}",
        f"The front on the selection split: {pair[0]} against {pair[1]}.",
        f"Scatter of {len(points)} trials; {len(found)} are beaten by none"
        + (f", from {_words(own[0], pair)} to {_words(own[-1], pair)}" if own else "")
        + f".{parents}",
        figure,
        ("trial", *(f"{name} %" for name in pair)),
        [(str(t.number), *(percent(named_values(t)[n]) for n in pair)) for t in found],
    )


def _confirm(front: Front, pair: tuple[str, str], number: int) -> Chart:
    """The points of the front on the confirm split, each with its number, and the parents."""
    figure, axis = new_figure(height=3.6)
    points = sorted(front["points"], key=lambda one: one["confirm"][pair[0]])
    x, y = _axes([one["confirm"] for one in points], pair)
    axis.plot(x, y, "o-", color=BEST, ms=5, lw=1, label="front")
    for one, px, py in zip(points, x, y, strict=True):
        axis.annotate(
            str(one["point"]), (px, py), textcoords="offset points", xytext=(5, 4), color=INK
        )
    parents = _parents(axis, front, pair, "confirm")
    _finish(axis, pair)
    told = "; ".join(f"point {one['point']}: {_words(one['confirm'], pair)}" for one in points)
    return Chart(
        f"front-{number}-confirm",
        f"The points of the front on the confirm split, by number: {pair[0]} against {pair[1]}.",
        f"{told}.{parents}",
        figure,
        ("point", *(f"{name} %" for name in pair)),
        [(str(one["point"]), *(percent(one["confirm"][n]) for n in pair)) for one in points],
    )


def _parents(axis: Any, front: Front | None, pair: tuple[str, str], split: str) -> str:
    """Draw the parents; what they are, in words."""
    words = []
    for (name, own), mark in zip((front or {}).get("parents", {}).items(), _MARKS, strict=False):
        x, y = _axes([own[split]], pair)
        axis.plot(x, y, mark, color=INK, ms=6, mfc="none", label=name)
        words.append(f"{name}: {_words(own[split], pair)}")
    return f" Parents: {'; '.join(words)}." if words else ""


def _finish(axis: Any, pair: tuple[str, str]) -> None:
    axis.set(xlabel=f"{pair[0]}, %", ylabel=f"{pair[1]}, %")
    axis.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8, labelcolor=INK
    )


def _axes(
    points: Sequence[Mapping[str, float]], pair: tuple[str, str]
) -> tuple[list[float], list[float]]:
    one, other = ([100 * p[name] for p in points] for name in pair)
    return one, other


def _words(point: Mapping[str, float], pair: tuple[str, str]) -> str:
    return " and ".join(percent(point[name]) for name in pair)
