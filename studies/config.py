"""study.yaml: its schema. Checked once here; everything behind it takes plain arguments."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from search.racing import RACING
from search.samplers import Sampler
from search.warm_start import DEFAULT_GRIDS
from studies.kinds import ObjectiveConfig
from studies.place import checked_address
from studies.search_config import SearchConfig
from studies.strict import Count, Duration, Strict
from studies.tracking_address import address_problem

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1)]


class Expert(Strict):
    """A model that is merged; the target itself may be one."""

    model: str
    name: str | None = None


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
    """Where finished trials are mirrored; `system_metrics: false` leaves the machine's out."""

    enabled: bool = True
    uri: str | None = None
    system_metrics: bool | None = None

    @field_validator("uri")
    @classmethod
    def _known(cls, uri: str | None) -> str | None:
        if uri is not None and (problem := address_problem(uri)) is not None:
            raise ValueError(problem)
        return uri


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
    search: SearchConfig = Field(default_factory=SearchConfig)
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
    storage: Annotated[str, AfterValidator(checked_address)] | None = None
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
