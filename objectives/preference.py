"""Preference pairs: the model must score the chosen response above the rejected one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from objectives.data import Example
from objectives.records import Average, ExampleScore, Split
from objectives.request import Reply, Request, question_prompt

ROLES = ("chosen", "rejected")
"""Text columns that the data must have beside id and question."""

Scorer = Literal["reward_head", "log_probability"]


@dataclass(frozen=True, slots=True)
class Preference:
    """Share of pairs whose chosen response gets strictly the higher score; a tie is not a win.

    Attributes:
        data: the examples of each split.
        scorer: "reward_head" (the score head on the last token's hidden state) or
            "log_probability" (mean log-probability of the response's tokens under the model).
        image: show the image.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    scorer: Scorer = "reward_head"
    image: bool = True

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def requests(self, example: Example) -> tuple[Request, ...]:
        """The chosen response, then the rejected one, behind the same prompt."""
        prompt = question_prompt(example, image=self.image)
        want: Literal["reward", "log_probability"] = (
            "reward" if self.scorer == "reward_head" else "log_probability"
        )
        return tuple(Request(prompt, want, example.texts[role]) for role in ROLES)

    def judge(self, example: Example, replies: Sequence[Reply]) -> ExampleScore:
        """1 for a pair in the right order and 0 for any other; the margin is chosen - rejected."""
        chosen, rejected = (self._score(reply) for reply in replies)
        margin = chosen - rejected
        return ExampleScore(example.id, float(chosen > rejected), example.category, margin=margin)

    def gold(self, example: Example) -> tuple[Request, ...]:
        """Both responses."""
        return self.requests(example)

    def log_likelihood(self, values: Sequence[Tensor], tokens: Sequence[int]) -> Tensor:
        """Log sigmoid(score of chosen - score of rejected), by the scorer (Bradley and Terry)."""
        chosen, rejected = values
        if self.scorer == "log_probability":
            chosen, rejected = chosen / tokens[0], rejected / tokens[1]
        return logsigmoid(chosen - rejected)

    def _score(self, reply: Reply) -> float:
        if self.scorer == "reward_head":
            assert reply.score is not None
            return reply.score
        assert reply.log_probability is not None
        return reply.log_probability / reply.tokens
