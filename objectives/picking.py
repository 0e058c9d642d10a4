"""Best of N as an objective: how right the response is that the model scores highest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from objectives.best_of_n import BestOfN, best_of_n, mean_of_n
from objectives.data import Example
from objectives.judging import mean_score, score_request
from objectives.records import Average, ExampleScore, Split
from objectives.request import Reply, Request, Writing, question_prompt

PickScorer = Literal["reward_head", "log_probability", "judge"]
"""reward_head: the score head; log_probability: the mean over the response's tokens; judge: the
score from 1 to 5 that the model writes."""

_UNREAD = float("-inf")  # a response without a score is never the top one, unless all are


@dataclass(frozen=True, slots=True)
class Picking:
    """Mean correctness of the top-scored of N responses; those that tie share the pick.

    Attributes:
        data: the examples of each split, with `responses` and their `correctness`.
        scorer: what a response's score is.
        writing: how a judge's votes are written.
        image: show the images.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    scorer: PickScorer = "reward_head"
    writing: Writing = field(default_factory=lambda: Writing(32))
    image: bool = True

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def requests(self, example: Example) -> tuple[Request, ...]:
        """One per response, behind the same prompt."""
        responses = example.lists["responses"]
        if self.scorer == "judge":
            return tuple(
                score_request(example, response, self.writing, image=self.image)
                for response in responses
            )
        want: Literal["reward", "log_probability"] = (
            "reward" if self.scorer == "reward_head" else "log_probability"
        )
        prompt = question_prompt(example, image=self.image)
        return tuple(Request(prompt, want, response) for response in responses)

    def judge(self, example: Example, replies: Sequence[Reply]) -> ExampleScore:
        """The correctness of the response that is picked; unread scores are flagged."""
        scores = [self._score(reply) for reply in replies]
        flags = ("unparsed",) if _UNREAD in scores else ()
        picked = best_of_n(scores, example.numbers["correctness"]).picked
        return ExampleScore(example.id, picked, example.category, flags)

    def beside(self, split: Split) -> BestOfN:
        """Pass@1, Pass@N and random on a split, which need no model; `picked` is random's."""
        return mean_of_n([chance(example) for example in self.data[split]])

    def _score(self, reply: Reply) -> float:
        if self.scorer == "judge":
            score = mean_score(reply)
            return _UNREAD if score is None else score
        if self.scorer == "reward_head":
            assert reply.score is not None
            return reply.score
        assert reply.log_probability is not None
        return reply.log_probability / reply.tokens


def chance(example: Example) -> BestOfN:
    """The figures of one question without a scorer: all responses tie."""
    correctness = example.numbers["correctness"]
    return best_of_n([0.0] * len(correctness), correctness)
