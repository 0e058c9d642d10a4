"""Pictures of a study: score over trials, and coefficients over depth as a heat map."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from search.feasibility import value_of
from search.front import growth, is_front
from search.naming import WARM
from search.space import SearchSpace

_PUBLISHED, _SEARCHED = "#8a8f98", "#2a6fbb"


def draw_history(
    searches: Mapping[str, Sequence[FrozenTrial]], lines: Mapping[str, float], path: Path
) -> None:
    """Score on the selection split over trials, one panel per search; of a front its hypervolume.

    Args:
        searches: finished trials by the title of their panel.
        lines: other scores on the same split, drawn as horizontal lines.
        path: of the PNG.
    """
    figure, axes = _figure(len(searches), (6.4, 4.0))
    for axis, (title, trials) in zip(axes, searches.items(), strict=True):
        if is_front(trials):
            axis.plot([t.number for t in trials], growth(trials), color="#d1495b")
            axis.set(title=title, xlabel="trial", ylabel="hypervolume of the front, selection")
            continue
        scored = [t for t in trials if t.value is not None]
        sources = sorted({t.user_attrs["source"] for t in scored}, key=lambda s: (s != WARM, s))
        for source in sources:
            own = [t for t in scored if t.user_attrs["source"] == source]
            published = source == WARM
            label = "published grid" if published else source
            colour = _PUBLISHED if published else _SEARCHED
            numbers, values = [t.number for t in own], [t.value for t in own]
            axis.scatter(
                numbers,
                values,
                s=14,
                color=colour,
                label=label,
                alpha=0.8,
            )
        best, running = float("-inf"), []
        for trial in scored:
            best = max(best, trial.value or best)
            running.append(best)
        numbers = [t.number for t in scored]
        axis.step(numbers, running, where="post", color="#d1495b", label="best so far")
        for i, (name, value) in enumerate(lines.items()):
            axis.axhline(value, ls=("--", ":")[i % 2], lw=1, color="#444444", label=name)
        axis.set(title=title, xlabel="trial", ylabel="score on the selection split")
        axis.legend(fontsize=7, loc="lower right")
    _save(figure, path)


def draw_depth(space: SearchSpace, values: Mapping[str, float], path: Path, title: str) -> None:
    """Each knob over depth as a heat map: a row per expert (and half), a column per layer.

    Args:
        space: where the values come from.
        values: the point, by dimension.
        path: of the PNG.
        title: above the picture.
    """
    knobs = list(space.ranges)
    figure, axes = _figure(len(knobs), (1.6 + 0.75 * space.layers, 2.6))
    for axis, knob in zip(axes, knobs, strict=True):
        rows = rows_over_depth(space, knob, values)
        table = list(rows.values())
        limits = space.ranges[knob]
        image = axis.imshow(
            table, aspect="auto", cmap="cividis", vmin=limits.low, vmax=limits.high
        )
        middle = (limits.low + limits.high) / 2
        for y, row in enumerate(table):
            for x, value in enumerate(row):
                colour = "white" if value < middle else "black"
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
        axis.set_yticks(range(len(rows)), list(rows))
        axis.set_xticks(range(space.layers), [str(i) for i in range(space.layers)])
        axis.set(title=f"{knob} of the {title}", xlabel="layer")
        figure.colorbar(image, ax=axis, fraction=0.04)
    _save(figure, path)


def draw_choices(
    choices: Mapping[str, Sequence[Any]],
    trials: Sequence[FrozenTrial],
    found: Mapping[str, Any],
    path: Path,
) -> None:
    """Score of every trial by the listed value that it took, one panel per list.

    Args:
        choices: the values by the name of the list.
        trials: finished trials.
        found: the found recipe's point, whose values are marked.
        path: of the PNG.
    """
    figure, axes = _figure(len(choices), (3.6, 3.2))
    for axis, (name, values) in zip(axes, choices.items(), strict=True):
        for place, value in enumerate(values):
            own = [value_of(t) for t in trials if t.params[name] == value]
            scores = [score for score in own if score is not None]
            colour = "#d1495b" if value == found[name] else "#2a6fbb"
            axis.scatter([place] * len(scores), scores, s=14, color=colour, alpha=0.5)
        labels = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
        axis.set_xticks(range(len(values)), labels)
        axis.set_xlim(-0.5, len(values) - 0.5)
        axis.set(title=f"{name} (found: red)", ylabel="score on the selection split")
    _save(figure, path)


def rows_over_depth(
    space: SearchSpace, knob: str, values: Mapping[str, float]
) -> dict[str, list[float]]:
    """One list of values per layer for every expert and part of a layer."""
    owners = space.labels if space.knob(knob).per_expert else ("all",)
    return {
        " ".join(filter(None, (one, part))): list(space.depth.by_layer(row))
        for part, rows in space.controls(knob, values).items()
        for one, row in zip(owners, rows, strict=True)
    }


def _figure(panels: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """A figure with panels side by side, drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * panels, size[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
