"""The merge method as a choice of every group: from chosen methods to a recipe's groups."""

from collections import Counter
from collections.abc import Mapping, Sequence

from merge_ops.recipe import MethodGroup
from search.depth import Depth
from search.modules import Module, owner

_OUTSIDE = {"model.embed_tokens": 0, "model.norm": -1, "lm_head": -1, "score.": -1}
"""What stands before and behind the layers, and whose place's method it takes."""


def recipe_groups(
    chosen: Mapping[tuple[int, str], str],
    depth: Depth,
    modules: Sequence[Module],
    names: Sequence[str],
) -> tuple[str, tuple[MethodGroup, ...]]:
    """The method of the rest, and the groups of a recipe; no group where all methods are one.

    Args:
        chosen: the method by place over depth and name of the part.
        depth: bands.
        modules: the parts, in the order in which tensors are assigned to them.
        names: canonical names of the merged tensors.
    """
    rest = Counter(chosen.values()).most_common(1)[0][0]
    if len(set(chosen.values())) == 1:
        return rest, ()
    groups = [
        MethodGroup(
            chosen[place % depth.places, owner(modules, f"{name}.weight").name], None, name
        )
        for name, place in _OUTSIDE.items()
        if any(name in known for known in names)
    ]
    for module in modules:
        runs = _runs([chosen[place, module.name] for place in range(depth.places)], depth)
        for part in module.filters or (None,):
            groups += [MethodGroup(method, layers, part) for method, layers in runs]
    while groups[-1].method == rest and groups[-1].filter is None:  # what the rest says anyway
        groups.pop()
    return rest, tuple(groups)


def _runs(methods: Sequence[str], depth: Depth) -> list[tuple[str, tuple[int, int]]]:
    """Neighbouring bands of one method as one range of layers."""
    ends = (*depth.edges[1:], depth.layers)
    found: list[tuple[str, tuple[int, int]]] = []
    for method, first, end in zip(methods, depth.edges, ends, strict=True):
        if found and found[-1][0] == method:
            found[-1] = (method, (found[-1][1][0], end))
        else:
            found.append((method, (first, end)))
    return found
