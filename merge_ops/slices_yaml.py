"""The `slices:` of a mergekit configuration: their schema, and what this project can merge."""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from merge_ops.method import Method
from merge_ops.recipe import Recipe, Slice, Source
from merge_ops.settings_yaml import Problems, read_settings
from merge_ops.slices import may_differ
from merge_ops.yaml_file import Location


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SliceSource(_Strict):
    """One model of a slice."""

    model: str
    layer_range: list[int] = Field(min_length=2, max_length=2)
    parameters: dict[str, Any] | None = None


class SliceFile(_Strict):
    """One slice as it stands in the file."""

    sources: list[SliceSource] = Field(min_length=1)
    base_model: str | None = None
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


def slice_problems(slices: Sequence[SliceFile], base_model: str | None) -> Problems:
    """What of the slices' shape this project does not merge: only the depth of the models."""
    problems: Problems = []
    expected = 0
    for i, part in enumerate(slices):
        span = part.sources[0].layer_range
        where: Location = ("slices", i, "sources", 0, "layer_range")
        dotted = f"slices.{i}.sources"
        if not span[0] < span[1]:
            text = f"must be [first, end] with first < end, but is {span}"
            problems.append((where, f"{dotted}.0.layer_range: {text}"))
        elif span[0] != expected:
            text = f"slices must name every layer once, in order, so this one begins at {expected}"
            problems.append((where, f"{dotted}.0.layer_range: {text}, but is {span}"))
        for j, source in enumerate(part.sources[1:], 1):
            if source.layer_range != span:
                text = f"all sources of a slice must have one layer_range, {span}"
                problems.append(
                    (
                        ("slices", i, "sources", j, "layer_range"),
                        f"{dotted}.{j}.layer_range: {text}, but this is {source.layer_range}",
                    )
                )
        if part.base_model not in (None, base_model):
            text = "a slice cannot have a base of its own; put base_model at the top"
            problems.append((("slices", i, "base_model"), f"slices.{i}.base_model: {text}"))
        expected = span[1]
    return problems


def model_problems(recipe: Recipe, op: Method) -> Problems:
    """Rules on the models of each slice."""
    problems: Problems = []
    base = recipe.task_base(op)
    for i, part in enumerate(recipe.slices):
        place: Location = ("slices", i, "sources")
        models = [source.model for source in part.sources]
        count = len([model for model in models if model != base])
        if len(set(models)) < len(models):
            problems.append((place, f"slices.{i}.sources: a model may stand once in a slice"))
        if count < op.min_experts or (op.max_experts or count) < count:
            most = "any number of" if op.max_experts is None else str(op.max_experts)
            text = f"{op.name} merges {op.min_experts} to {most} models, but got {count}"
            problems.append((place, f"slices.{i}.sources: {text}"))
        elif count != len(recipe.experts(op)) and not may_differ(op.name):
            text = f"{op.name} must merge the same models in every slice"
            problems.append((place, f"slices.{i}.sources: {text}"))
    return problems
