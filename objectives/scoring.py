"""Scoring the responses of one batch: behind one prompt pass, or each from its beginning."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.batches import Row
from objectives.continuation import Branch, go_on
from objectives.heads import Head, log_probabilities, reward_head
from objectives.live_model import LiveModel
from objectives.replay import DecoderCall, replay
from objectives.request import Reply, Want

Wants = Mapping[tuple[str, str], set[Want]]
"""What is to be known, by the prompt's key and the response."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured on hidden states.

    Attributes:
        reward: whether a reward is asked for.
        log_probability: whether log-probabilities are.
        head: from hidden states to logits.
    """

    reward: bool
    log_probability: bool
    head: Callable[[], Head]


@torch.no_grad()
def score_behind(
    live: LiveModel, branch: Branch, rows: Sequence[Row], measure: Measure
) -> list[Reply]:
    """Responses that continue prompts which were read before; `branch` has a row per prompt."""
    own = branch.select([row.entry for row in rows])
    last = own.last[:, None]  # (R, 1, hidden size)
    tokens, counted, mask = _tensors(rows, branch.mask.device)
    hidden = torch.cat([last, go_on(live, own, tokens, mask)], 1)  # (R, 1 + n, hidden size)
    return _replies(live, hidden, tokens, counted, mask.sum(1), measure)


@torch.no_grad()
def score_whole(
    live: LiveModel, call: DecoderCall, rows: Sequence[Row], measure: Measure
) -> list[Reply]:
    """Whole conversations, padded on the left, that end with the responses."""
    hidden = replay(live, call)[[row.entry for row in rows]]  # (R, T, hidden size)
    tokens, counted, mask = _tensors(rows, call.attention_mask.device)
    lengths = mask.sum(1)
    width = hidden.shape[1]
    places = torch.arange(tokens.shape[1] + 1, device=tokens.device)
    places = (width - lengths - 1)[:, None] + places  # (R, 1 + n): from before the response
    places = places.clamp(max=width - 1)
    hidden = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
    return _replies(live, hidden, tokens, counted, lengths, measure)


def _tensors(rows: Sequence[Row], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, which of them count, and which are there at all, filled up on the right: (R, n)."""
    width = max(len(row.tail.tokens) for row in rows)
    tokens, counted, mask = [], [], []
    for row in rows:
        size, tail = len(row.tail.tokens), row.tail
        fill = [0] * (width - size)
        tokens.append([*tail.tokens, *fill])
        counted.append([i >= tail.begin for i in range(size)] + [False] * len(fill))
        mask.append([1] * size + fill)
    return (
        torch.tensor(tokens, device=device),
        torch.tensor(counted, device=device),
        torch.tensor(mask, device=device),
    )


def _replies(
    live: LiveModel,
    hidden: Tensor,
    tokens: Tensor,
    counted: Tensor,
    lengths: Tensor,
    measure: Measure,
) -> list[Reply]:
    """Replies from the hidden states before the first token and behind each: (R, 1 + n, ...)."""
    scores: list[float] | None = None
    logs: list[float] | None = None
    if measure.reward:
        ends = hidden[torch.arange(len(hidden), device=hidden.device), lengths]
        scores = reward_head(live)(ends)[:, 0].float().tolist()
    if measure.log_probability:
        logs = log_probabilities(measure.head(), hidden[:, :-1], tokens, counted).tolist()
    sizes = counted.sum(1).tolist()
    return [
        Reply(scores[i] if scores else None, logs[i] if logs else None, sizes[i])
        for i in range(len(hidden))
    ]
