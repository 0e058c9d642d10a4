"""A method per group of tensors: `merge_method: per_group` and the block's `methods:`."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from merge_ops.errors import did_you_mean
from merge_ops.layout import MisfitError
from merge_ops.method import Method
from merge_ops.recipe import MethodGroup, Recipe
from merge_ops.rewriting import LISTED, Rewrite, all_methods
from merge_ops.settings_yaml import Problems
from merge_ops.yaml_file import Location

PER_GROUP = "per_group"
"""Stands as `merge_method` of such a recipe: mergekit has no method per group, and refuses it by
this name instead of merging everything by one method."""

_PLACE: Location = ("mergetuna", "methods")
Layer = Annotated[int, Field(ge=0, le=100_000)]


class GroupFile(BaseModel):
    """One entry of `methods:` as it stands in the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    method: str
    layer_range: list[Layer] | None = Field(default=None, min_length=2, max_length=2)
    filter: Annotated[str, Field(min_length=1)] | None = None


def read_groups(
    merge_method: str, entries: Sequence[GroupFile], problems: Problems
) -> tuple[str, tuple[MethodGroup, ...]]:
    """The method of the rest, and the groups; what is wrong is appended to `problems`."""
    if merge_method != PER_GROUP:
        if entries:
            text = f"mergetuna.methods: only a recipe of merge_method {PER_GROUP!r} has this key"
            problems.append((_PLACE, text))
        return merge_method, ()
    found = [_group(entry, i, i == len(entries) - 1, problems) for i, entry in enumerate(entries)]
    if not found:
        text = f"{PER_GROUP} needs mergetuna.methods, whose last entry is of all that is left"
        problems.append((("merge_method",), f"merge_method: {text}"))
        return "linear", ()
    return found[-1].method, tuple(found[:-1])


def _group(entry: GroupFile, index: int, is_last: bool, problems: Problems) -> MethodGroup:
    place: Location = (*_PLACE, index)
    dotted = ".".join(map(str, place))
    problem = unfit(entry.method)
    if problem:
        problems.append(((*place, "method"), f"{dotted}.method: {problem}"))
    span = entry.layer_range
    if span is not None and not span[0] < span[1]:
        text = f"must be [first, end] with first < end, but is {span}"
        problems.append(((*place, "layer_range"), f"{dotted}.layer_range: {text}"))
    if is_last and (span or entry.filter):
        text = "the last entry is of all that is left: without layer_range and filter"
        problems.append((place, f"{dotted}: {text}"))
    elif not is_last and not (span or entry.filter):
        text = "needs a layer_range or a filter; only the last entry is of all that is left"
        problems.append((place, f"{dotted}: {text}"))
    return MethodGroup(entry.method, None if span is None else (span[0], span[1]), entry.filter)


def unfit(name: str) -> str | None:
    """Why a method cannot stand in a group, or None."""
    known = {method.name: method for method in all_methods()}
    op: Method | None = known.get(name)
    if op is None:
        return f"there is no method {name!r}{did_you_mean(name, known) or LISTED}"
    if isinstance(op, Rewrite):
        return f"{name} rewrites a whole recipe, so no group can have it"
    if op.traits.views or op.traits.statistics:
        return f"{name} gives views or takes statistics, so no group can have it"
    return None


def dump_groups(recipe: Recipe) -> list[dict[str, Any]]:
    """The entries of `methods:`."""
    entries = []
    for group in recipe.groups:
        entry: dict[str, Any] = {"method": group.method}
        if group.layers is not None:
            entry["layer_range"] = list(group.layers)
        if group.filter is not None:
            entry["filter"] = group.filter
        entries.append(entry)
    return [*entries, {"method": recipe.method}]


def check_depth(recipe: Recipe, layers: int) -> None:
    """Refuse groups of layers that the models do not have.

    Raises:
        MisfitError: one ends behind the last layer.
    """
    for i, group in enumerate(recipe.groups):
        if group.layers is not None and group.layers[1] > layers:
            place: Location = (*_PLACE, i, "layer_range")
            text = f"ends at layer {group.layers[1]}, but the models have {layers} layers"
            raise MisfitError(place, f"{'.'.join(map(str, place))}: {text}")
