"""Generation: the model writes its answer, which must equal the gold one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from objectives.data import Example
from objectives.records import Average, ExampleScore, Split
from objectives.request import Reply, Request, Writing, question_prompt

ROLES = ("answer",)
"""Text columns that the data must have beside id and question."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Exact match of a greedily written answer, ignoring case and the width of spaces.

    Attributes:
        data: the examples of each split.
        max_new_tokens: the longest answer, in tokens, its end included.
        image: show the image; without it only the question is asked.
        allowed: if not empty, the model can write nothing but one of these answers.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    max_new_tokens: int = 16
    image: bool = True
    allowed: tuple[str, ...] = ()

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def requests(self, example: Example) -> tuple[Request, ...]:
        """One answer, written greedily."""
        writing = Writing(self.max_new_tokens, allowed=self.allowed)
        prompt = question_prompt(example, image=self.image)
        return (Request(prompt, "text", writing=writing),)

    def judge(self, example: Example, replies: Sequence[Reply]) -> ExampleScore:
        """1 for the gold answer and 0 for any other; an answer that was cut is flagged."""
        (answer,) = replies[0].texts
        right = _normal(answer) == _normal(example.texts["answer"])
        flags = ("truncated",) if replies[0].truncated else ()
        return ExampleScore(example.id, float(right), example.category, flags)

    def gold(self, example: Example) -> tuple[Request, ...]:
        """The gold answer behind the prompt."""
        prompt = question_prompt(example, image=self.image)
        return (Request(prompt, "log_probability", example.texts["answer"]),)

    def log_likelihood(self, values: Sequence[Tensor], tokens: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Log-probability of the gold answer, its end included."""
        return values[0]


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
