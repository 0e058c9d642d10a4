"""Published grids as first points of a search."""

from collections.abc import Callable, Sequence

from merge_ops.errors import UserError, did_you_mean
from merge_ops.registry import Value
from search.naming import METHOD
from search.points import uniform
from search.space import SearchSpace

Start = dict[str, Value] | None
"""A point, or None where the space does not hold it."""

_TENTHS = [i / 10 for i in range(11)]


def anchors(space: SearchSpace) -> list[Start]:
    """Where a search without knowledge begins: the defaults, the average, each expert alone."""
    count = len(space.labels)
    alone = [[float(i == j) for j in range(count)] for i in range(count)]
    defaults: Start = {d.name: d.default for d in space.dimensions()}
    if "weight" not in space.ranges:
        return [defaults]
    return [defaults, *(uniform(space, w, {}) for w in ([1 / count] * count, *alone))]


def linear_grid(space: SearchSpace) -> list[Start]:
    """(l, 1-l) for l = 0, 0.1 ... 1; for more than two experts each alone and their average.

    Source: the linear rows of arXiv:2502.13487.
    """
    count = len(space.labels)
    if count == 2:
        return [uniform(space, (1 - l, l), {}) for l in _TENTHS]  # noqa: E741 (the paper's letter)
    alone = [[float(i == j) for j in range(count)] for i in range(count)]
    return [uniform(space, w, {}) for w in [*alone, [1 / count] * count]]


def task_vector_grid(space: SearchSpace) -> list[Start]:
    """One lambda = 0, 0.1 ... 1 for all experts (the task-vector rows of arXiv:2502.13487)."""
    return [uniform(space, [l] * len(space.labels), {}) for l in _TENTHS]  # noqa: E741


def density_grid(space: SearchSpace) -> list[Start]:
    """Lambda in {0.5, 0.7, 1.0} x density in {0.2, 0.4, 0.6, 0.8} (TIES, DARE: arXiv:2502.13487).

    Empty where no density is searched.
    """
    if "density" not in space.ranges:
        return []
    return [
        uniform(space, [lam] * len(space.labels), {"density": density})
        for lam in (0.5, 0.7, 1.0)
        for density in (0.2, 0.4, 0.6, 0.8)
    ]


def vlrm_58(space: SearchSpace) -> list[Start]:
    """The whole grid of arXiv:2502.13487: linear, task vectors, TIES, DARE and DARE with TIES.

    Those of its 58 points whose method the space holds.
    """
    grids = {
        "linear": linear_grid,
        "task_arithmetic": task_vector_grid,
        "ties": density_grid,
        "dare_linear": density_grid,
        "dare_ties": density_grid,
    }
    if METHOD not in space.choices:
        own = grids.get(space.template.method)
        return own(space) if own else []
    return [
        space.with_method(point, name)
        for name, grid in grids.items()
        if name in space.choices[METHOD]
        for point in grid(space)
        if point is not None
    ]


GRIDS: dict[str, Callable[[SearchSpace], list[Start]]] = {
    "anchors": anchors,
    "linear_grid": linear_grid,
    "task_vector_grid": task_vector_grid,
    "density_grid": density_grid,
    "vlrm_58": vlrm_58,
}


DEFAULT_GRIDS = ("anchors", "linear_grid", "task_vector_grid", "density_grid")


def warm_points(names: Sequence[str], space: SearchSpace) -> list[dict[str, Value]]:
    """The points of the named grids, each once, in order; none where nothing is searched.

    Raises:
        UserError: there is no grid of that name.
    """
    points: list[dict[str, Value]] = []
    for name in names:
        if name not in GRIDS:
            raise UserError(f"warm_start: there is no grid {name!r}{did_you_mean(name, GRIDS)}")
        for point in GRIDS[name](space) if space.dimensions() else ():
            if (
                point is not None and point not in points
            ):  # without a searched weight, a grid is one point
                points.append(point)
    return points
