"""A model as judge, in writing: it scores a response from 1 to 5, or names the better of two."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from objectives.data import Example
from objectives.metrics.judge_score import read_score
from objectives.records import Average, ExampleScore, Split
from objectives.request import Reply, Request, Writing, question_prompt

JudgeMode = Literal["score", "pick"]
"""score: each response is scored by itself; pick: both are shown, in both orders."""

ROLES = ("chosen", "rejected")
"""Text columns that the data must have beside id and question."""

SCORE = (
    "Question: {question}\n\nResponse: {response}\n\nHow good is the response, on a scale from 1 "
    "(wrong or useless) to 5 (right and helpful)? Answer with the number alone."
)
PICK = (
    "Question: {question}\n\nResponse A: {first}\n\nResponse B: {second}\n\nWhich response is "
    "better? Answer with A or B alone."
)
_PICKED = re.compile(r"(?<![A-Za-z])[\[(\"']*([AB])(?![A-Za-z'])")


@dataclass(frozen=True, slots=True)
class Judge:
    """Share of pairs of which the model judges the chosen response strictly better.

    With "pick" every vote is taken in both orders, so that a liking for the first place cancels. A
    vote that cannot be read does not count, and the pair is flagged; a response, or an order,
    without any vote makes the pair a miss.

    Attributes:
        data: pairs of each split.
        mode: how it judges.
        writing: how a vote is written: votes, temperature, seed.
        image: show the images.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    mode: JudgeMode = "score"
    writing: Writing = field(default_factory=lambda: Writing(32))
    image: bool = True

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def requests(self, example: Example) -> tuple[Request, ...]:
        """The chosen response, then the rejected one; or both orders, chosen first."""
        chosen, rejected = (example.texts[role] for role in ROLES)
        if self.mode == "score":
            return tuple(
                score_request(example, response, self.writing, image=self.image)
                for response in (chosen, rejected)
            )
        return tuple(
            self._pick(example, *order) for order in ((chosen, rejected), (rejected, chosen))
        )

    def judge(self, example: Example, replies: Sequence[Reply]) -> ExampleScore:
        """1 for a strict win of the chosen response; the margin is in points or votes."""
        if self.mode == "score":
            scores = [mean_score(reply) for reply in replies]
            read = None not in scores
            margin = (scores[0] or 0.0) - (scores[1] or 0.0) if read else None
            unread = any(read_score(text) is None for reply in replies for text in reply.texts)
        else:
            votes = [[read_pick(text) for text in reply.texts] for reply in replies]
            margin, unread = _lead(votes), any(vote is None for own in votes for vote in own)
        cut = any(reply.truncated for reply in replies)
        flags = (*(("unparsed",) if unread else ()), *(("truncated",) if cut else ()))
        won = margin is not None and margin > 0
        return ExampleScore(example.id, float(won), example.category, flags, margin=margin or 0.0)

    def _pick(self, example: Example, first: str, second: str) -> Request:
        text = _filled(PICK, question=example.question, first=first, second=second)
        prompt = question_prompt(example, image=self.image, text=text)
        return Request(prompt, "text", writing=self.writing)


def score_request(example: Example, response: str, writing: Writing, *, image: bool) -> Request:
    """Ask for the score of one response."""
    text = _filled(SCORE, question=example.question, response=response)
    return Request(question_prompt(example, image=image, text=text), "text", writing=writing)


def mean_score(reply: Reply) -> float | None:
    """The mean of the votes that can be read, or None if none can."""
    scores = [score for text in reply.texts if (score := read_score(text)) is not None]
    return sum(scores) / len(scores) if scores else None


def read_pick(text: str) -> str | None:
    """The only one of A and B that the text names, or None."""
    named = set(_PICKED.findall(text))
    return named.pop() if len(named) == 1 else None


def _lead(votes: Sequence[Sequence[str | None]]) -> float | None:
    """Votes for the chosen response minus those against; None if an order has no vote."""
    shares = []
    for own, chosen in zip(votes, "AB", strict=True):
        read = [vote for vote in own if vote is not None]
        if not read:
            return None
        shares.append(sum(1 if vote == chosen else -1 for vote in read) / len(read))
    return sum(shares) / len(shares)


def _filled(template: str, *, question: str, **parts: str) -> str:
    """The template with its parts, whatever braces those hold."""
    names = {"question": question, **parts}
    return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], template)
