"""The `slices:` of a mergekit configuration: their schema, and what this project can merge."""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from merge_ops.mergekit_reference import Reference
from merge_ops.method import Method
from merge_ops.recipe import Recipe, Slice, Source
from merge_ops.settings_yaml import Problems, read_settings
from merge_ops.slices import may_differ
from merge_ops.yaml_file import Location


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class SliceSource(_Strict):
    """One model of a slice."""

    model: Reference
    layer_range: list[int] = Field(min_length=2, max_length=2)
    parameters: dict[str, Any] | None = None


class SliceFile(_Strict):
    """One slice as it stands in the file."""

    sources: list[SliceSource] = Field(min_length=1)
    base_model: Reference | None = None
    residual_weight: float | None = None
    parameters: dict[str, Any] | None = None


Locate = Callable[..., str | None]
"""`locate(text, *place)`: the reference of a model; a problem is noted under its place."""


def read_slices(
    slices: Sequence[SliceFile], op: Method, locate: Locate, problems: Problems, notes: Problems
) -> tuple[Slice, ...]:
    """Convert the checked slices; problems and notes are appended with their places."""
    found = []
    for i, part in enumerate(slices):
        at: Location = ("slices", i)
        sources = []
        for j, source in enumerate(part.sources):
            where = (*at, "sources", j)
            place = (*where, "parameters")
            own = read_settings(source.parameters, op, place, problems, own=True, notes=notes)
            sources.append(Source(locate(source.model, *where, "model") or "", own))
        place = (*at, "parameters")
        common = read_settings(part.parameters, op, place, problems, own=False, notes=notes)
        if part.residual_weight is not None:
            notes.append(((*at, "residual_weight"), "residual_weight has no effect here"))
        first, end = part.sources[0].layer_range
        found.append(Slice(first, end, tuple(sources), common))
    return tuple(found)


def shape_problems(
    models: Sequence[BaseModel] | None,
    slices: Sequence[SliceFile] | None,
    base_model: str | None,
) -> Problems:
    """Whether a file lists models, or slices that keep the models' depth."""
    if slices is None:
        text = "must name at least one" if models == [] else "this key is required"
        return [] if models else [(("models",), f"models: {text}")]
    if models is not None:
        return [(("slices",), "slices: a recipe has `models` or `slices`, not both")]
    if not slices:
        return [(("slices",), "slices: must name at least one")]
    problems: Problems = []
    begin = 0
    for i, part in enumerate(slices):
        problems += _range_problems(part, i, begin)
        if part.base_model not in (None, base_model):
            text = "a slice cannot have a base of its own; put base_model at the top"
            problems.append((("slices", i, "base_model"), f"slices.{i}.base_model: {text}"))
        begin = part.sources[0].layer_range[1]
    return problems


def _range_problems(part: SliceFile, index: int, begin: int) -> Problems:
    """Rules on the layers of one slice, which must begin at layer `begin`."""
    span = part.sources[0].layer_range
    texts = {
        j: f"all sources of a slice must have one layer_range, {span}, but this is {other}"
        for j, source in enumerate(part.sources)
        if (other := source.layer_range) != span
    }
    if not span[0] < span[1]:
        texts[0] = f"must be [first, end] with first < end, but is {span}"
    elif span[0] != begin:
        texts[0] = (
            f"slices must name every layer once, in order, so this one begins at {begin}, "
            f"but is {span}"
        )
    places: dict[int, Location] = {
        j: ("slices", index, "sources", j, "layer_range") for j in texts
    }
    return [(places[j], f"{'.'.join(map(str, places[j]))}: {text}") for j, text in texts.items()]


def count_problems(recipe: Recipe, op: Method) -> Problems:
    """Rules on the models that are merged: in the whole recipe, or in each slice."""
    if not recipe.slices:
        text = _count_text(op, len(recipe.experts(op)))
        return [(("models",), f"models: {text}")] if text else []
    problems: Problems = []
    base = recipe.task_base(op)
    for i, part in enumerate(recipe.slices):
        models = [source.model for source in part.sources]
        count = len([model for model in models if model != base])
        text = _count_text(op, count)
        if len(set(models)) < len(models):
            text = "a model may stand once in a slice"
        elif not text and count != len(recipe.experts(op)) and not may_differ(op.name):
            text = f"{op.name} must merge the same models in every slice"
        if text:
            problems.append((("slices", i, "sources"), f"slices.{i}.sources: {text}"))
    return problems


def _count_text(op: Method, count: int) -> str:
    """What is wrong with a number of models, or nothing."""
    if op.min_experts <= count and (op.max_experts is None or count <= op.max_experts):
        return ""
    most = "any number of" if op.max_experts is None else str(op.max_experts)
    return f"{op.name} merges {op.min_experts} to {most} models, but got {count}"
