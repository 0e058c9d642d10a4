"""study.yaml: its schema. Checked once here; everything behind it takes plain arguments."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from objectives.records import Average
from search.warm_start import GRIDS


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Expert(_Strict):
    """A model that is merged; the target itself may be one."""

    model: str
    name: str | None = None


class Search(_Strict):
    """What varies; nothing where the method has no knob."""

    knobs: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        default_factory=dict
    )
    choices: dict[str, list[Any]] = Field(default_factory=dict)
    bands: int | Literal["layers"] = 1
    halves: bool = False

    @field_validator("knobs")
    @classmethod
    def _ordered(cls, knobs: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, (low, high) in knobs.items():
            if not low < high:
                raise ValueError(
                    f"{name} must be [low, high] with low < high, but is {[low, high]}"
                )
        return knobs


class DataFiles(_Strict):
    """Where each split comes from: a file, a folder, or `owner/name:split` on the hub."""

    selection: str
    confirm: str
    test: str


class _ObjectiveBase(_Strict):
    name: Annotated[str, Field(pattern=r"^[\w-]+$")]
    data: DataFiles
    task: str | None = None
    weight: Annotated[float, Field(gt=0)] = 1.0
    average: Average = "micro"
    columns: dict[str, str] = Field(default_factory=dict)
    limit: Annotated[int, Field(gt=0)] | None = None


class GenerationConfig(_ObjectiveBase):
    """Exact match of a written answer."""

    kind: Literal["generation"]
    max_new_tokens: Annotated[int, Field(gt=0)] = 16
    constrained_to: list[str] = Field(default_factory=list)


class PreferenceConfig(_ObjectiveBase):
    """Preference pairs scored by the reward head, or by the model's own log-probabilities."""

    kind: Literal["preference"]
    scorer: Literal["reward_head", "log_probability"] = "reward_head"


ObjectiveConfig = Annotated[GenerationConfig | PreferenceConfig, Field(discriminator="kind")]


class StatisticsConfig(_Strict):
    """What the experts are observed on, for methods with statistics."""

    objective: str | dict[str, str] | None = None
    split: Literal["selection", "confirm", "test"] = "selection"
    items: Annotated[int, Field(gt=0)] = 64

    @field_validator("split")
    @classmethod
    def _held_out(cls, split: str) -> str:
        if split != "selection":
            raise ValueError(
                "statistics are collected on selection: the winner is chosen on confirm, judged "
                "on test, and nothing else that decides a weight may see those"
            )
        return split


class Budget(_Strict):
    """When the search ends: at whichever limit comes first."""

    trials: Annotated[int, Field(gt=0)] | None = 100
    timeout: str | None = None

    @field_validator("timeout")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None:
            seconds(text)
        return text

    @model_validator(mode="after")
    def _some_limit(self) -> "Budget":
        if self.trials is None and self.timeout is None:
            raise ValueError("a budget needs `trials` or `timeout`")
        return self


class Tracking(_Strict):
    """Where finished trials are mirrored."""

    enabled: bool = True
    uri: str | None = None


class RuntimeConfig(_Strict):
    """How the live model runs."""

    device: str = "auto"
    threads: Annotated[int, Field(gt=0)] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    image_backend: Literal["pil", "torchvision"] | None = None
    tokens_per_batch: Annotated[int, Field(gt=0)] | None = None
    writer: Literal["replay", "continuous"] = "replay"
    kernels: Literal["auto", "compiled", "eager"] = "auto"
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    device_cache_gb: Annotated[float, Field(ge=0)] = 1.0
    cache_gb: Annotated[float, Field(ge=0)] = 4.0
    disk_cache_gb: Annotated[float, Field(ge=0)] = 0.0
    template: str = "target"


class StudyConfig(_Strict):
    """One study."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    target: str
    base: str | None = None
    experts: Annotated[list[Expert], Field(min_length=1)]
    reward_head: str | None = None
    method: str = "task_arithmetic"
    parameters: dict[str, Any] = Field(default_factory=dict)
    search: Search = Field(default_factory=Search)
    exclude: list[str] = Field(default_factory=lambda: ["embed_tokens", "lm_head"])
    objectives: Annotated[list[ObjectiveConfig], Field(min_length=1)]
    statistics: StatisticsConfig | None = None
    sampler: Literal["tpe", "cma", "random"] = "tpe"
    warm_start: list[str] = Field(default_factory=lambda: list(GRIDS))
    budget: Budget = Field(default_factory=Budget)
    confirm_top: Annotated[int, Field(gt=0)] = 8
    compare: bool = True
    seed: int = 0
    out: str | None = None
    tracking: Tracking = Field(default_factory=Tracking)
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)

    @field_validator("objectives")
    @classmethod
    def _named_apart(cls, objectives: list[Any]) -> list[Any]:
        names = [objective.name for objective in objectives]
        if len(set(names)) < len(names):
            raise ValueError(f"objectives must have different names, but are {names}")
        return objectives


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """A duration such as "90s", "30m", "8h" or "1d" in seconds.

    Raises:
        ValueError: the text is no duration.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if found is None:
        raise ValueError(f"a duration reads like 90s, 30m, 8h or 1d, but is {text!r}")
    return float(found[1]) * _UNITS[found[2]]
