"""The file of statistics: safetensors with one tensor per expert and parameter, and its header."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from merge_ops.errors import UserError
from merge_ops.expert_statistics import ExpertStatistics, NoStatistics, statistics_shapes
from merge_ops.hub import weights_sha256
from merge_ops.method import Method
from merge_ops.recipe import Recipe, StatisticsRef
from merge_ops.registry import MergeOp

METADATA = "mergetuna"
"""The one metadata key, which holds the header as JSON: one key has only one order."""

KEY = "mergetuna.statistics"
"""Where a recipe names the file."""


class Header(BaseModel):
    """What the statistics are of.

    Attributes:
        kind: the method that they were collected for.
        models: sha256 of each expert's files, in the order of the experts.
        collected: from what and how: objectives, split, number of items, settings.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: Literal[1] = 1
    kind: str
    models: list[str] = Field(min_length=1)
    collected: dict[str, Any]


def tensor_key(expert: int, name: str) -> str:
    """The name in the file of one expert's statistics of one parameter."""
    return f"{expert}.{name}"


def file_sha256(path: Path) -> str:
    """Sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_header(path: Path) -> Header:
    """The header of a file of statistics.

    Raises:
        ValueError: it is no such file; the message fits behind its name.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(METADATA)
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"it is not a safetensors file ({reason})") from None
    if text is None:
        raise ValueError("it is a safetensors file, but not one of `mergetuna statistics`")
    try:
        return Header.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"its header cannot be read ({where}: {first['msg']})") from None


def header_misfit(header: Header, op: Method, experts: int) -> str | None:
    """Why statistics do not fit a recipe, as far as that shows without the models."""
    if header.kind != op.name:
        return f"{op.name} needs statistics of its own kind, but these are for {header.kind}"
    if len(header.models) != experts:
        return f"the recipe merges {experts} models, but these are of {len(header.models)}"
    return None


class StatisticsFile:
    """An open file of statistics; tensors are read when they are asked for."""

    def __init__(self, ref: StatisticsRef) -> None:
        """Raises `UserError` if it is not a file of statistics."""
        self.ref = ref
        path = Path(ref.path)
        try:
            self.header = read_header(path)
        except ValueError as error:
            raise self.error(str(error)) from None
        self._file = cast("Any", safe_open(path, "pt"))
        self._keys = set(self._file.keys())

    def key(self, name: str) -> str:
        """The file's sha256, where it has the parameter."""
        return self.ref.sha256 if tensor_key(0, name) in self._keys else ""

    def read(self, name: str, device: torch.device) -> list[Tensor]:
        """One float32 tensor per expert, or none where the parameter has no statistics."""
        keys = [tensor_key(i, name) for i in range(len(self.header.models))]
        return [self._file.get_tensor(key).to(device) for key in keys if key in self._keys]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a file that lacks a tensor, or has one of another shape or dtype.

        Raises:
            UserError: the first such tensor is named.
        """
        for expert in range(len(self.header.models)):
            for name, shape in shapes.items():
                key = tensor_key(expert, name)
                if key not in self._keys:
                    raise self.error(f"it has no tensor {key!r} (models.{expert}); collect again")
                stored = self._file.get_slice(key)
                found = (tuple(stored.get_shape()), stored.get_dtype())
                if found != (shape, "F32"):
                    text = f"its tensor {key!r} must be F32 {shape}, but is {found[1]} {found[0]}"
                    raise self.error(text)

    def error(self, text: str) -> UserError:
        """What is wrong with the file, behind the place where a recipe names it."""
        place = f"{self.ref.place}: " if self.ref.place else ""
        return UserError(f"{place}{KEY}.file: {self.ref.path}: {text}")


def open_statistics(
    recipe: Recipe, op: MergeOp, module: nn.Module, parameters: Mapping[str, nn.Parameter]
) -> ExpertStatistics:
    """Open the statistics that a recipe names, and check them against its models.

    Args:
        recipe: names the file, if its method needs one.
        op: its method.
        module: the live model.
        parameters: its merged parameters by canonical name.

    Raises:
        UserError: there is no file, or it is of another kind, other models or other shapes.
    """
    if op.traits.statistics is None:
        return NoStatistics()
    if recipe.statistics is None:
        raise UserError(f"{op.name} needs statistics, but the recipe has no {KEY}.")
    opened = StatisticsFile(recipe.statistics)
    misfit = header_misfit(opened.header, op, len(recipe.models))
    if misfit:
        raise opened.error(misfit)
    for i, (source, known) in enumerate(zip(recipe.models, opened.header.models, strict=True)):
        if weights_sha256(source.model) != known:
            text = f"models.{i} must be the model that they were collected from, but is another"
            raise opened.error(f"{text}: {source.model}")
    opened.check(statistics_shapes(op, module, parameters))
    return opened
