"""The kinds of objectives, as a study file writes them."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator, model_validator

from objectives.judging import JudgeMode
from objectives.likelihood import Transform
from objectives.multiple_choice import ChoiceMode, Normalise
from objectives.picking import PickScorer
from objectives.preset import DRAWN
from studies.objective_config import ObjectiveBase
from studies.strict import Count

Signal = Literal["metric", "smooth"]
"""What the search maximises on selection: the objective's figure, or its smooth twin."""
Share = Annotated[float, Field(ge=0)]


class GenerationConfig(ObjectiveBase):
    """A written answer, judged by a metric."""

    metrics: ClassVar[tuple[str, ...]] = ("any metric",)

    kind: Literal["generation"]
    metric: str = "exact_match"
    metric_options: dict[str, Any] = Field(default_factory=dict)
    prompt: str = "{question}"
    max_new_tokens: Count = 16
    constrained_to: list[str] = Field(default_factory=list)

    @field_validator("prompt")
    @classmethod
    def _asks(cls, text: str) -> str:
        if "{question}" not in text:
            raise ValueError(f"must hold {{question}}, where the question stands, but is {text!r}")
        return text


class ChoiceConfig(ObjectiveBase):
    """Multiple choice by the options' log-probabilities, or by a written letter."""

    metrics: ClassVar[tuple[str, ...]] = ("choice_letter", "math_answer")
    suffix_apart: ClassVar[bool] = True

    kind: Literal["choice"]
    mode: ChoiceMode = "letter"
    normalise: Normalise = "sum"
    list_options: bool = True
    signal: Signal = "metric"
    max_new_tokens: Count = 16

    @model_validator(mode="after")
    def _margins(self) -> "ChoiceConfig":
        if self.signal == "smooth" and self.mode == "written":
            raise ValueError("signal smooth needs margins, and written answers have none")
        return self


class PreferenceConfig(ObjectiveBase):
    """Preference pairs scored by the reward head, or by the model's own log-probabilities."""

    metrics: ClassVar[tuple[str, ...]] = ("pair_accuracy",)

    kind: Literal["preference"]
    scorer: Literal["reward_head", "log_probability"] = "reward_head"
    signal: Signal = "metric"


class BestOfNConfig(ObjectiveBase):
    """Correctness of the top-scored of N responses; Pass@1, Pass@N and random beside it."""

    metrics: ClassVar[tuple[str, ...]] = ("best_of_n",)

    kind: Literal["best_of_n"]
    scorer: PickScorer = "reward_head"


class JudgeConfig(ObjectiveBase):
    """Preference pairs judged in writing: scores from 1 to 5, or the better of two."""

    metrics: ClassVar[tuple[str, ...]] = ("pair_accuracy",)

    kind: Literal["judge"]
    mode: JudgeMode = "score"
    votes: Annotated[int, Field(gt=0)] = 1
    temperature: Share = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    max_new_tokens: Count = 32
    signal: Signal = "metric"

    @model_validator(mode="after")
    def _votes_differ(self) -> "JudgeConfig":
        if self.votes > 1 and self.temperature == 0:
            raise ValueError(f"{self.votes} votes at temperature 0 are all the same; raise it")
        return self


class LikelihoodConfig(ObjectiveBase):
    """How likely the gold answer is, as a probability; no answer is written."""

    metrics: ClassVar[tuple[str, ...]] = ("likelihood",)
    any_preset: ClassVar[bool] = True

    kind: Literal["likelihood"]
    transform: Transform = "token"
    distractors: bool = False
    signal: Signal = "metric"

    @model_validator(mode="after")
    def _margins(self) -> "LikelihoodConfig":
        if self.signal == "smooth" and not self.distractors:
            raise ValueError("signal smooth needs margins: set `distractors: true`")
        return self


class PythonConfig(ObjectiveBase):
    """Your own function, called with the live model and the examples of a split."""

    metrics: ClassVar[tuple[str, ...]] = ("your own",)
    any_preset: ClassVar[bool] = True

    kind: Literal["python"]
    function: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    needs: list[str] = Field(default_factory=list)


class HarnessConfig(ObjectiveBase):
    """A task of lm-evaluation-harness, run on the live model; without images."""

    metrics: ClassVar[tuple[str, ...]] = ("the task's own",)

    kind: Literal["lm_eval"]
    harness_task: str
    metric: str = "acc"
    shots: Annotated[int, Field(ge=0)] | None = None
    tasks_folder: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _source(cls, value: Any) -> Any:
        """The task is the source; its documents are divided as any other."""
        if not isinstance(value, dict) or "harness_task" not in value:
            return value
        source = {"source": f"lm_eval:{value['harness_task']}"}
        return {"data": source, "split": dict(DRAWN), **value}


ObjectiveConfig = Annotated[
    GenerationConfig
    | ChoiceConfig
    | PreferenceConfig
    | BestOfNConfig
    | JudgeConfig
    | LikelihoodConfig
    | PythonConfig
    | HarnessConfig,
    Field(discriminator="kind"),
]

KINDS: dict[str, type[ObjectiveBase]] = {
    get_args(config.model_fields["kind"].annotation)[0]: config
    for config in get_args(get_args(ObjectiveConfig)[0])
}
"""What a study can score. A further kind is a class in the union above and a function in
`studies.makers.MAKERS`."""
