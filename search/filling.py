"""What a recipe says for the values of one expert at all places and in all parts of a layer."""

from collections.abc import Mapping, Sequence

from merge_ops.recipe import Entry, Setting
from search.depth import Depth
from search.modules import Module, owner

_BEHIND = ("model.norm", "lm_head")
"""What stands behind the last layer, and so takes its value."""


def setting_of(
    controls: Mapping[str, Sequence[float]],
    depth: Depth,
    modules: Sequence[Module],
    names: Sequence[str],
) -> Setting:
    """The setting of one knob.

    Args:
        controls: one value per place, by the name of the part.
        depth: where the places are.
        modules: the parts, in the order in which tensors are assigned to them.
        names: canonical names of the merged tensors, if they are known.
    """
    if depth.places == 1 and len(modules) == 1:
        return (Entry(None, next(iter(controls.values()))[0]),)
    behind = [
        Entry(name, controls[owner(modules, f"{name}.weight").name][-1])
        for name in _BEHIND
        if name == "model.norm" or any(name in known for known in names)
    ]
    entries = [
        Entry(part, depth.setting(controls[module.name]))
        for module in modules
        for part in module.filters or (None,)
    ]
    return (*behind, *entries)
