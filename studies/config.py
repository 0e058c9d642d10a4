"""study.yaml: its schema. Checked once here; everything behind it takes plain arguments."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from search.coupling import Coupling
from search.modules import REST
from search.racing import RACING
from search.samplers import Sampler
from search.warm_start import DEFAULT_GRIDS
from studies.kinds import ObjectiveConfig
from studies.strict import Strict

_LATER = {"refine", "average_seeds", "method_per_group"}
"""Keys of `search` that came later."""
Count = Annotated[int, Field(gt=0, le=1_000_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1)]


class Expert(Strict):
    """A model that is merged; the target itself may be one."""

    model: str
    name: str | None = None


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


class Search(Strict):
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
    def _one_depth(self) -> "Search":
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


class StatisticsConfig(Strict):
    """What the experts are observed on, for methods with statistics."""

    objective: str | dict[str, str] | None = None
    split: Literal["selection", "confirm", "test"] = "selection"
    items: Count = 64

    @field_validator("split")
    @classmethod
    def _held_out(cls, split: str) -> str:
        if split != "selection":
            raise ValueError(
                "statistics are collected on selection: the winner is chosen on confirm, judged "
                "on test, and nothing else that decides a weight may see those"
            )
        return split


class WarmRecipe(Strict):
    """A recipe file as a first point."""

    recipe: str


class WarmStudy(Strict):
    """The best trials of an earlier study as first points, or its found recipe."""

    study: str
    best: Count = 10


WarmStart = str | WarmRecipe | WarmStudy


def _duration(text: str) -> str:
    seconds(text)
    return text


Duration = Annotated[str, AfterValidator(_duration)]


class Budget(Strict):
    """When the search ends: at whichever limit comes first."""

    trials: Count | None = 100
    timeout: Duration | None = None
    items: Count | None = None
    target: Annotated[float, Field(gt=0, le=1)] | None = None
    patience: Count | None = None

    @model_validator(mode="after")
    def _some_limit(self) -> "Budget":
        if self.trials is None and self.timeout is None and self.items is None:
            raise ValueError(
                "a budget needs `trials`, `timeout` or `items`; `target` and `patience` may never "
                "be reached"
            )
        return self


class RacingConfig(Strict):
    """Candidates that cannot enter the best stop before all items are scored."""

    rule: RACING = "off"
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    top: Count = 5
    block: Count = 128


class Tracking(Strict):
    """Where finished trials are mirrored."""

    enabled: bool = True
    uri: str | None = None


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|(cuda|mps|xpu|npu|hpu)(:[0-9]{1,3})?", text):
        raise ValueError(f"a device is auto, cpu, cuda, cuda:1 or mps, but is {text[:80]!r}")
    return text


class RuntimeConfig(Strict):
    """How the live model runs."""

    device: Annotated[str, AfterValidator(_device)] = "auto"
    shard: bool = False
    threads: Count | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    image_backend: Literal["pil", "torchvision"] | None = None
    tokens_per_batch: Count | None = None
    writer: Literal["replay", "continuous"] = "replay"
    kernels: Literal["auto", "compiled", "eager"] = "auto"
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    device_cache_gb: Annotated[float, Field(ge=0)] = 1.0
    cache_gb: Annotated[float, Field(ge=0)] = 4.0
    disk_cache_gb: Annotated[float, Field(ge=0)] = 0.0
    template: str = "target"
    disk_wait: Duration = "1h"


class StudyConfig(Strict):
    """One study."""

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)]
    target: str
    base: str | None = None
    experts: Annotated[list[Expert], Field(min_length=1)]
    reward_head: str | None = None
    method: str = "task_arithmetic"
    parameters: dict[str, Any] = Field(default_factory=dict)
    search: Search = Field(default_factory=Search)
    exclude: list[str] = Field(default_factory=lambda: ["embed_tokens", "lm_head"])
    towers: dict[str, str] = Field(default_factory=dict)
    objectives: Annotated[list[ObjectiveConfig], Field(min_length=1)]
    front: list[str] | dict[str, list[str]] | None = None
    statistics: StatisticsConfig | None = None
    sampler: Sampler = "tpe"
    warm_start: list[WarmStart] = Field(default_factory=lambda: list[WarmStart](DEFAULT_GRIDS))
    budget: Budget = Field(default_factory=Budget)
    racing: RacingConfig = Field(default_factory=RacingConfig)
    confirm_top: Count = 8
    compare: bool = True
    seed: Seed = 0
    out: Text | None = None
    tracking: Tracking = Field(default_factory=Tracking)
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)

    @field_validator("objectives")
    @classmethod
    def _named_apart(cls, objectives: list[Any]) -> list[Any]:
        names = [objective.name for objective in objectives]
        if len(set(names)) < len(names):
            raise ValueError(f"objectives must have different names, but are {names}")
        return objectives

    def front_values(self) -> dict[str, tuple[str, ...]]:
        """The objectives of each value of the front, by its name; empty where none is searched."""
        if self.front is None:
            return {}
        if isinstance(self.front, list):
            return {name: (name,) for name in self.front}
        return {name: tuple(own) for name, own in self.front.items()}


_TEN_YEARS = 10 * 366 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """A duration such as "90s", "30m", "8h" or "1d" in seconds.

    Raises:
        ValueError: the text is no duration, or none between a hundredth of a second and ten years.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([smhd])", text.strip())
    number = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0.01 <= number <= _TEN_YEARS:
        raise ValueError(f"a duration reads like 90s, 30m, 8h or 1d, but is {text[:80]!r}")
    return number
