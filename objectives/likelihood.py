"""Likelihood: how probable the gold answer is behind its prompt; nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Literal

from objectives.answer_text import gold_answers
from objectives.data import Example
from objectives.records import Average, ExampleScore, Split
from objectives.request import Reply, Request, question_prompt

if TYPE_CHECKING:
    from torch import Tensor

Transform = Literal["token", "sequence"]
"""How a log-probability becomes a value in [0, 1]: exp of its mean over the answer's tokens (the
geometric mean of their probabilities), or exp of its sum (the answer's own probability)."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Mean probability of the gold answer, its end included.

    Attributes:
        data: the examples of each split; `distractors` are wrong answers to be told from.
        transform: from a log-probability to the value.
        image: show the images.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    transform: Transform = "token"
    image: bool = True

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def requests(self, example: Example) -> tuple[Request, ...]:
        """The gold answer, then each distractor, behind the same prompt."""
        prompt = question_prompt(example, image=self.image)
        answers = (common_gold(example), *example.lists.get("distractors", ()))
        return tuple(Request(prompt, "log_probability", answer) for answer in answers)

    def judge(self, example: Example, replies: Sequence[Reply]) -> ExampleScore:
        """The gold answer's probability; the margin is to the likeliest distractor, in logs."""
        gold, *others = (self._log(reply) for reply in replies)
        margin = gold - max(others) if others else None
        value = min(1.0, exp(gold))  # a log-probability may round to just above 0
        return ExampleScore(example.id, value, example.category, margin=margin)

    def gold(self, example: Example) -> tuple[Request, ...]:
        """The gold answer behind the prompt."""
        return self.requests(example)[:1]

    def log_likelihood(self, values: Sequence["Tensor"], tokens: Sequence[int]) -> "Tensor":  # noqa: ARG002
        """Log-probability of the gold answer, its end included."""
        return values[0]

    def _log(self, reply: Reply) -> float:
        assert reply.log_probability is not None
        return reply.log_probability / (reply.tokens if self.transform == "token" else 1)


def common_gold(example: Example) -> str:
    """The gold answer; of several the one that most people gave, the first among equals."""
    answers = gold_answers(example)
    return max(answers, key=answers.count)
