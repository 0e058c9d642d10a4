"""The key `search` of a study file: what varies, and where over depth."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from search.coupling import Coupling
from search.modules import REST
from studies.strict import Count, Strict

_LATER = {"refine", "average_seeds", "method_per_group"}
"""Keys of `search` that came later."""


class KnobSearch(Strict):
    """How one knob is searched; `[low, high]` alone is short for its range."""

    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    log: bool | None = None
    coupled: Coupling = "free"

    @model_validator(mode="after")
    def _ordered(self) -> "KnobSearch":
        if self.coupled == "simplex":
            if self.range is not None or self.log is not None:
                raise ValueError("on a simplex weights sum to 1; leave range and log out")
        elif self.range is None:
            raise ValueError("range must be [low, high]")
        elif not self.range[0] < self.range[1]:
            raise ValueError(f"must be [low, high] with low < high, but is {self.range}")
        elif self.log and not self.range[0] > 0:
            raise ValueError(f"a logarithmic range begins above 0, but is {self.range}")
        return self

    def ends(self) -> tuple[float, float]:
        """The range; on a simplex each weight lies in [0, 1]."""
        low, high = self.range or (0.0, 1.0)
        return low, high


class Refine(Strict):
    """From coarse to fine: begin with few bands and cut them one by one, where confirm agrees."""

    start: Count = 1
    every: Count | None = None


class SearchConfig(Strict):
    """What varies; nothing where the method has no knob."""

    knobs: dict[str, KnobSearch] = Field(default_factory=dict)
    choices: dict[str, list[Any]] = Field(default_factory=dict)
    bands: Count | Literal["layers"] | list[int] | None = None
    curve: Annotated[int, Field(gt=1)] | None = None
    modules: list[Literal["attention", "mlp", "norms"]] | dict[str, list[str]] = Field(
        default_factory=list
    )
    freeze: dict[str, float] = Field(default_factory=dict)
    method_per_group: bool = False
    refine: Refine | None = None
    average_seeds: Annotated[int, Field(gt=1, le=1000)] | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keys that older studies do not know stand in it if they are set: digests stay."""
        found: dict[str, Any] = plain(self)
        return {key: value for key, value in found.items() if key not in _LATER or value}

    @field_validator("knobs", mode="before")
    @classmethod
    def _short(cls, knobs: Any) -> Any:
        if not isinstance(knobs, dict):
            return knobs
        return {k: {"range": v} if isinstance(v, list) else v for k, v in knobs.items()}

    @field_validator("bands")
    @classmethod
    def _in_order(cls, bands: Any) -> Any:
        if isinstance(bands, list) and (bands[:1] != [0] or sorted(set(bands)) != bands):
            raise ValueError(f"must be the first layer of each group, from 0 up, but are {bands}")
        return bands

    @field_validator("modules")
    @classmethod
    def _named(cls, modules: Any) -> Any:
        if isinstance(modules, list) and len(set(modules)) < len(modules):
            raise ValueError(f"each part is listed once, but got {modules}")
        for name, filters in modules.items() if isinstance(modules, dict) else ():
            if not re.fullmatch(r"[A-Za-z_]\w*", name) or name == REST or not filters:
                raise ValueError(
                    f"a part has a name other than {REST!r} of letters, digits and _, and at "
                    f"least one filter, but got {{{name}: {filters}}}"
                )
        return modules

    @model_validator(mode="after")
    def _one_depth(self) -> "SearchConfig":
        if self.bands is not None and self.curve is not None:
            raise ValueError("depth is searched by `bands` or along a `curve`, not both")
        if self.refine is not None:
            count = len(self.bands) if isinstance(self.bands, list) else self.bands
            if count is None or (count != "layers" and self.refine.start >= count):
                raise ValueError(
                    "refine goes from few bands (its `start`) to many (`bands`), but got "
                    f"{self.refine.start} and {count}"
                )
        return self
