"""From hidden states to rewards, to log-probabilities and to the next token's logits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel

_LOGITS_AT_ONCE = 2**26
"""Entries of the vocabulary's table of scores held at a time: 256 MB in float32."""


@dataclass(frozen=True, slots=True)
class Head:
    """A model's way from hidden states (N, hidden size) to logits (N, V)."""

    project: Callable[[Tensor], Tensor]
    vocabulary: int


def reward_head(live: LiveModel) -> nn.Module:
    """The score head.

    Raises:
        ObjectiveError: there is none.
    """
    if live.score_head is None:
        raise ObjectiveError(
            "scoring by reward_head needs a model with a score head, but there is none; name "
            "`reward_head`, or score by log_probability."
        )
    return live.score_head


@torch.no_grad()
def find_head(live: LiveModel) -> Head:
    """How this model turns hidden states into logits.

    Its output head, where that gives what the whole model gives; else the whole model around a
    decoder that only returns the hidden states (Gemma 2 caps its logits, others scale them).
    """
    head: Any = live.module.get_output_embeddings()  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(4, head.weight.shape[-1], generator=generator)
    probe = probe.to(device=live.device, dtype=head.weight.dtype)  # weights may be offloaded

    def whole(hidden: Tensor) -> Tensor:
        given = BaseModelOutputWithPast(last_hidden_state=hidden[None])
        ids = torch.zeros(1, 1, dtype=torch.long, device=hidden.device)
        decoder = vars(live.decoder)
        before = decoder.get("forward")
        decoder["forward"] = lambda *_args, **_named: given
        try:
            output: Any = live.module(input_ids=ids, use_cache=False)
        finally:
            if before is None:
                del decoder["forward"]
            else:
                decoder["forward"] = before
        return output.logits[0]  # type: ignore[no-any-return]

    large = probe * (100.0 / head(probe).abs().amax())  # where a cap or a scale shows
    plain, own = head(large).float(), whole(large).float()
    same = bool((plain - own).abs().amax() <= 1e-2 * plain.abs().amax())
    chosen = head if same else whole
    return Head(lambda hidden: chosen(hidden).to(live.device), plain.shape[-1])


@torch.no_grad()
def log_probabilities(head: Head, before: Tensor, tokens: Tensor, counted: Tensor) -> Tensor:
    """Summed log-probability of the counted tokens of each row, (R,), in float32.

    Nothing but the positions that count is projected to the vocabulary.

    Args:
        head: the model's.
        before: (R, n, hidden size), the hidden state before each token.
        tokens: (R, n).
        counted: (R, n), True where a token counts.
    """
    rows = counted.nonzero()[:, 0]
    hidden, wanted = before[counted], tokens[counted]  # (N, hidden size), (N,)
    sums = torch.zeros(len(tokens), device=hidden.device)
    step = max(1, _LOGITS_AT_ONCE // head.vocabulary)
    for start in range(0, len(hidden), step):
        part = slice(start, start + step)
        logs = head.project(hidden[part]).float().log_softmax(-1)  # (step, V)
        sums.index_add_(0, rows[part], logs.gather(-1, wanted[part, None])[:, 0])
    return sums
