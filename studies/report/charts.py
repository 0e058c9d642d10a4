"""The charts of a report."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from search.feasibility import feasible, value_of
from search.naming import WARM
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
)
from studies.report.importance import Importance
from studies.trial_facts import examples_of

_BARS = 12


def percent(value: float) -> str:
    """A share as it is shown everywhere on the page."""
    return f"{100 * value:.1f}"


def history(trials: Sequence[FrozenTrial], title: str, name: str) -> Chart:
    """Score over trials, hollow where guards are not held, and the best so far that holds them."""
    figure, axis = new_figure()
    scored = [(t, v) for t in trials if (v := value_of(t)) is not None]
    kept = [(t, v) for t, v in scored if feasible(t)]
    for warm, colour, label in ((True, PALE, "published grid"), (False, POINT, "searched")):
        own = [(t.number, 100 * v) for t, v in kept if (t.user_attrs["source"] == WARM) == warm]
        if own:
            scatter(axis, [n for n, _ in own], [v for _, v in own], colour, label)
    broken = [(t.number, 100 * v) for t, v in scored if not feasible(t)]
    if broken:
        hollow(axis, [n for n, _ in broken], [v for _, v in broken], "guards not held")
    steps = _improvements(kept)
    ends = [*steps, (scored[-1][0], steps[-1][1])] if steps else []
    axis.step([t.number for t, _ in ends], [100 * v for _, v in ends], where="post", color=BEST)
    axis.plot([], [], color=BEST, label="best so far")
    axis.set(xlabel="trial", ylabel="score on the selection split, %")
    axis.xaxis.get_major_locator().set_params(integer=True)  # there is no trial 0.5
    legend(axis)
    return Chart(
        name,
        f"{title.capitalize()}: score of every trial. The data lists the best so far.",
        f"Scatter of score over {len(scored)} trials of the {title}; {_rise(steps)}"
        + (f" {len(broken)} do not hold all guards." if broken else ""),
        figure,
        ("trial", "score %", "proposed by"),
        [(str(t.number), percent(v), str(t.user_attrs["source"])) for t, v in steps],
    )


def budget(searches: Mapping[str, Sequence[FrozenTrial]]) -> Chart:
    """The best so far over the examples that were scored, one line per search."""
    figure, axis = new_figure()
    rows, ends = [], []
    lines = zip(searches.items(), ((BEST, "-"), (POINT, "--")), strict=False)
    for (title, trials), (colour, dashes) in lines:
        seen, best, x, y = 0, float("-inf"), [], []
        for trial in trials:
            seen += examples_of(trial)
            value = value_of(trial)
            if value is not None and value > best and feasible(trial):
                best = value
                x.append(seen)
                y.append(100 * value)
                rows.append((title, f"{seen:,}", percent(value)))
        if not y:
            axis.plot([], [], color=colour, ls=dashes, label=title)
            ends.append(f"{title}: none holds all guards after {seen:,}")
            continue
        axis.step([*x, seen], [*y, y[-1]], where="post", color=colour, ls=dashes, label=title)
        ends.append(f"{title}: {percent(best)} after {seen:,}")
    axis.set(xlabel="examples scored", ylabel="best so far, %")
    legend(axis)
    return Chart(
        "budget",
        "The best so far, over the examples that were scored for it.",
        f"Lines of the best score so far over examples scored. {'; '.join(ends)}.",
        figure,
        ("search", "examples scored", "best so far %"),
        rows,
    )


def _rise(steps: Sequence[tuple[FrozenTrial, float]]) -> str:
    """How far the best so far came, in words."""
    if not steps:
        return "none holds all guards."
    (_, first), (trial, last) = steps[0], steps[-1]
    return (
        f"the best so far rises from {percent(first)} to {percent(last)} at trial {trial.number}."
    )


def _improvements(scored: Sequence[tuple[FrozenTrial, float]]) -> list[tuple[FrozenTrial, float]]:
    best, steps = float("-inf"), []
    for trial, value in scored:
        if value > best:
            best = value
            steps.append((trial, value))
    return steps


def importances(found: Importance) -> Chart:
    """Bars of the coordinates that decided most, with what chance alone shows."""
    shown = list(found.shares.items())[:_BARS]
    figure, axis = new_figure(height=0.9 + 0.27 * len(shown))
    colours = [POINT if share > found.chance else PALE for _, share in shown]
    names = [name for name, _ in shown]
    axis.barh(names, [100 * share for _, share in shown], color=colours)
    axis.axvline(100 * found.chance, color=BEST, ls="--", label="chance alone, 19 times of 20")
    axis.invert_yaxis()
    axis.set(xlabel="share of importance, %")
    legend(axis)
    told = ", ".join(found.told()[:4]) or "none"
    return Chart(
        "importance",
        f"Importance of the coordinates by PED-ANOVA, from {found.trials} trials.",
        f"Bars of importance. Beyond what chance alone shows: {told}.",
        figure,
        ("coordinate", "share %", "stands out from chance"),
        [(n, percent(s), "yes" if s > found.chance else "no") for n, s in found.shares.items()],
    )


def slice_of(trials: Sequence[FrozenTrial], name: str, best: FrozenTrial, number: int) -> Chart:
    """Score against one coordinate."""
    figure, axis = new_figure()
    scored = [(t, v) for t in trials if (v := value_of(t)) is not None and name in t.params]
    listed = getattr(scored[0][0].distributions[name], "choices", None)

    def place(trial: FrozenTrial) -> float:
        value = trial.params[name]
        return float(value if listed is None else listed.index(value))

    scatter(axis, [place(t) for t, _ in scored], [100 * v for _, v in scored], POINT, "trials")
    top = value_of(best)
    if top is not None and name in best.params:
        axis.plot([place(best)], [100 * top], "D", color=BEST, ms=6, label="best")
    if listed is not None:
        axis.set_xticks(range(len(listed)), [str(value) for value in listed])
    if getattr(scored[0][0].distributions[name], "log", False):
        axis.set_xscale("log")
    axis.set(xlabel=name, ylabel="score, %")
    legend(axis)
    return Chart(
        f"slice-{number}",
        f"Score against {name}. The data lists the ten best trials.",
        f"Scatter of score over {name}; the best trial has {best.params.get(name)!s:.6}.",
        figure,
        ("trial", name, "score %"),
        [
            (str(t.number), f"{t.params[name]!s:.8}", percent(v))
            for t, v in sorted(scored, key=lambda pair: -pair[1])[:10]
        ],
    )


def depth(
    knob: str,
    rows: Mapping[str, Sequence[float]],
    ends: tuple[float, float],
    what: str,
    whose: str,
) -> Chart:
    """One knob over depth as a heat map: a row per expert and part, a column per place."""
    table = [list(row) for row in rows.values()]
    places = max(map(len, table))
    figure, axis = new_figure(max(4.9, 1.3 + 0.34 * places), 1.2 + 0.4 * len(table))
    low, high = min(ends[0], *map(min, table)), max(ends[1], *map(max, table))
    padded = [row * places if len(row) == 1 else row for row in table]
    image = axis.imshow(padded, aspect="auto", cmap="cividis", vmin=low, vmax=high)
    if places <= 12:
        _write_values(axis, padded, (low + high) / 2)
    axis.set_yticks(range(len(rows)), list(rows))
    step = -(-places // 20)
    axis.set_xticks(range(0, places, step))
    axis.set(xlabel=what)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axis, fraction=0.05)
    bar.outline.set_edgecolor(INK)
    return Chart(
        f"depth-{knob}",
        f"{knob.capitalize()} over depth, of {whose}.",
        f"Heat map of {knob}, a row for each of {', '.join(rows)}, a column for each {what}; "
        f"values from {min(map(min, table)):.2f} to {max(map(max, table)):.2f}.",
        figure,
        ("", *(f"{what} {i}" for i in range(places))),
        [(label, *(f"{v:.3f}" for v in row)) for label, row in zip(rows, padded, strict=True)],
    )


def _write_values(axis: Any, table: Sequence[Sequence[float]], middle: float) -> None:
    for y, row in enumerate(table):
        for x, value in enumerate(row):
            colour = "#ffffff" if value < middle else "#000000"
            axis.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
