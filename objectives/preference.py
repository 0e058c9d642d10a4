"""Preference pairs: the model must score the chosen response above the rejected one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.observation import Passage, answer_log_probabilities, make_passage
from objectives.prompts import answer_length, encode, render
from objectives.records import Average, ExampleScore, Split
from objectives.replay import DecoderCall, ReplayCache, capture, head_logits, replay

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
        batch_size: pairs per forward pass.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    scorer: Scorer = "reward_head"
    image: bool = True
    batch_size: int = 64
    cache: ReplayCache = field(default_factory=ReplayCache, compare=False)

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def score(self, live: LiveModel, split: Split) -> Iterator[Sequence[ExampleScore]]:
        """Yield 1 for a pair in the right order and 0 for any other, batch by batch."""
        for batch, (chosen, rejected) in self._responses(live, split):
            yield [
                ExampleScore(e.id, float(c > r), e.category)
                for e, c, r in zip(batch, chosen, rejected, strict=True)
            ]

    def margins(self, live: LiveModel, split: Split) -> dict[str, float]:
        """Score of the chosen response minus that of the rejected one, by example id."""
        return {
            example.id: c - r
            for batch, (chosen, rejected) in self._responses(live, split)
            for example, c, r in zip(batch, chosen, rejected, strict=True)
        }

    def passages(self, live: LiveModel, example: Example) -> tuple[Passage, ...]:
        """The chosen response, then the rejected one, each behind the prompt."""
        return tuple(
            make_passage(live, example, example.texts[role], image=self.image) for role in ROLES
        )

    def log_likelihood(
        self, live: LiveModel, passages: Sequence[Passage], hidden: Sequence[Tensor]
    ) -> Tensor:
        """Log sigmoid(score of chosen - score of rejected), by the scorer (Bradley and Terry)."""
        self._check_head(live)
        if self.scorer == "reward_head":
            assert live.score_head is not None
            chosen, rejected = (live.score_head(h[:, -1])[0, 0].float() for h in hidden)
        else:
            chosen, rejected = (
                answer_log_probabilities(live, passage, h).mean()
                for passage, h in zip(passages, hidden, strict=True)
            )
        return logsigmoid(chosen - rejected)

    def _check_head(self, live: LiveModel) -> None:
        if self.scorer == "reward_head" and live.score_head is None:
            raise ObjectiveError(
                f"{self.name}: scorer reward_head needs a model with a score head; name a "
                "`reward_head` in the study, or use scorer: log_probability."
            )

    def _responses(
        self, live: LiveModel, split: Split
    ) -> Iterator[tuple[Sequence[Example], tuple[list[float], list[float]]]]:
        """Scores of the chosen and the rejected responses, batch by batch."""
        self._check_head(live)
        examples = self.examples(split)
        calls = self.cache.get(live, split, lambda: self._capture(live, examples))
        for start, call in zip(range(0, len(examples), self.batch_size), calls, strict=True):
            batch = examples[start : start + self.batch_size]
            scores = self._scores(live, call, batch)
            yield batch, (scores[: len(batch)], scores[len(batch) :])

    def _capture(self, live: LiveModel, examples: Sequence[Example]) -> list[DecoderCall]:
        """One call per batch: its chosen responses, then its rejected ones."""
        calls = []
        for start in range(0, len(examples), self.batch_size):
            batch = examples[start : start + self.batch_size]
            texts = [
                render(live, example, example.texts[role], image=self.image)
                for role in ROLES
                for example in batch
            ]
            calls.append(capture(live, encode(live, texts, [*batch, *batch], image=self.image)))
        return calls

    def _scores(self, live: LiveModel, call: DecoderCall, batch: Sequence[Example]) -> list[float]:
        hidden = replay(live, call)  # (2B, T, H)
        if self.scorer == "reward_head":
            assert live.score_head is not None
            scores = live.score_head(hidden[:, -1])[:, 0].float()  # padded left: -1 is the last
        else:
            scores = _log_probabilities(live, call, hidden, self._lengths(live, batch))
        found: list[float] = scores.tolist()
        for i, value in enumerate(found):
            if value != value or value in (float("inf"), float("-inf")):
                example = batch[i % len(batch)]
                raise ObjectiveError(f"{self.name}: {example.id}: its score is {value}.")
        return found

    def _lengths(self, live: LiveModel, batch: Sequence[Example]) -> Tensor:
        """Tokens of each response, its end included: (2B,)."""
        lengths = [
            answer_length(live, example, example.texts[role])
            for role in ROLES
            for example in batch
        ]
        return torch.tensor(lengths, device=live.device)


@torch.no_grad()
def _log_probabilities(
    live: LiveModel, call: DecoderCall, hidden: Tensor, lengths: Tensor
) -> Tensor:
    """Mean log-probability of the last `lengths` tokens of every row: (B,)."""
    longest = int(lengths.max())
    logits = head_logits(live, hidden[:, -longest - 1 : -1]).float()  # (B, longest, V)
    tokens = call.input_ids[:, -longest:]
    found: Tensor = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]  # (B, longest)
    place = torch.arange(longest, 0, -1, device=lengths.device)  # counted from the end
    counted = place[None] <= lengths[:, None]
    mean: Tensor = (found * counted).sum(-1) / lengths
    return mean
