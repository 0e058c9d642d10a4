"""Generation: the model writes its answer, and a metric judges it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from objectives.data import Example
from objectives.likelihood import common_gold
from objectives.metric import Metric, get_metric
from objectives.records import Average, ExampleScore, Split
from objectives.request import Prompt, Reply, Request, Writing, question_prompt
from objectives.written import mishaps

ROLES = ("answer",)
"""Text columns that the data must have beside id and question for exact answers."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Mean of a metric over greedily written answers.

    Attributes:
        data: the examples of each split.
        metric: judges an answer; exact match in normal form unless another is named.
        prompt: what is asked, with `{question}` in it.
        max_new_tokens: the longest answer, in tokens, its end included.
        image: show the images; without them only the question is asked.
        allowed: if not empty, the model can write nothing but one of these answers.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    max_new_tokens: int = 16
    image: bool = True
    allowed: tuple[str, ...] = ()
    metric: Metric = field(default_factory=lambda: get_metric("exact_match"))
    prompt: str = "{question}"

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def requests(self, example: Example) -> tuple[Request, ...]:
        """One answer, written greedily."""
        writing = Writing(self.max_new_tokens, allowed=self.allowed)
        return (Request(self._prompt(example), "text", writing=writing),)

    def judge(self, example: Example, replies: Sequence[Reply]) -> ExampleScore:
        """The metric's value; an answer that was cut, or holds none, is flagged."""
        (answer,) = replies[0].texts
        verdict = self.metric(answer, example)
        flags = mishaps(replies[0], verdict)
        return ExampleScore(example.id, verdict.value, example.category, flags)

    def gold(self, example: Example) -> tuple[Request, ...]:
        """The gold answer behind the prompt."""
        return (Request(self._prompt(example), "log_probability", common_gold(example)),)

    def log_likelihood(self, values: Sequence[Tensor], tokens: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Log-probability of the gold answer, its end included."""
        return values[0]

    def _prompt(self, example: Example) -> Prompt:
        text = self.prompt.replace("{question}", example.question)
        return question_prompt(example, image=self.image, text=text)
