"""Training: one seeded loop on one thread, and the four losses of the zoo."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from transformers import LlamaForCausalLM, LlamaForSequenceClassification
from transformers import LlavaForConditionalGeneration as Llava

from studies.demo.conversations import IGNORED, Batch
from studies.demo.plan import Steps

Tick = Callable[[int, int], None]  # (steps done, steps in all)


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up over the first 6 % of the steps, then half a cosine down to 5 %."""
    warmup = max(1, int(0.06 * steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress))


def train(
    module: nn.Module,
    losses: Iterator[Tensor],
    steps: Steps,
    tick: Tick,
) -> None:
    """Minimises `losses`, each computed when it is asked for, over the module's free parameters.

    AdamW with a warm-up, half a cosine and clipped gradients.
    """
    free: list[Tensor] = [
        parameter for parameter in module.parameters() if parameter.requires_grad
    ]
    optimizer = torch.optim.AdamW(free, lr=steps.rate, weight_decay=0.01, betas=(0.9, 0.98))
    module.train()
    for step in range(steps.count):
        rate = steps.rate * learning_rate_factor(step, steps.count)
        for group in optimizer.param_groups:
            group["lr"] = rate
        next(losses).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(free, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tick(step + 1, steps.count)
    module.eval()


def answer_loss(model: LlamaForCausalLM | Llava, batch: Batch) -> Tensor:
    """Mean cross-entropy of the labelled tokens."""
    inputs: dict[str, Any] = {"input_ids": batch.ids, "use_cache": False}
    if batch.pixels is not None:
        inputs["pixel_values"] = batch.pixels
    states = model.model(**inputs).last_hidden_state[:, :-1]  # (B, T-1, H)
    labels = batch.labels[:, 1:]
    written = labels != IGNORED
    logits = model.lm_head(states[written])  # (tokens written, V)
    return F.cross_entropy(logits, labels[written])


def preference_loss(model: LlamaForSequenceClassification, batch: Batch) -> Tensor:
    """Bradley-Terry loss of a batch whose first half is chosen and second half rejected."""
    scores = model(input_ids=batch.ids, use_cache=False).logits[:, 0]  # (B,)
    chosen, rejected = scores.chunk(2)
    return -F.logsigmoid(chosen - rejected).mean()


def cell_loss(logits: Tensor, digits: Tensor, colors: Tensor) -> Tensor:
    """Cross-entropy of each cell's digit (or none of 10) and colour (or none of 4).

    Args:
        logits: (B, 4, 16), eleven for the digit, then five for the colour.
        digits: (B, 4), 10 for an empty cell.
        colors: (B, 4), 4 for an empty cell.
    """
    digit_loss = F.cross_entropy(logits[..., :11].flatten(0, 1), digits.flatten())
    color_loss = F.cross_entropy(logits[..., 11:].flatten(0, 1), colors.flatten())
    return digit_loss + 0.5 * color_loss


def alignment_loss(features: Tensor, digits: Tensor, colors: Tensor, table: Tensor) -> Tensor:
    """Mean square distance of projected cells to the embeddings of their words, in variances.

    Args:
        features: (B, 4, H) as the language model will read them.
        digits: (B, 4), 10 for an empty cell.
        colors: (B, 4), 4 for an empty cell.
        table: (10 + 4 + 1, H) embeddings of the digits, the colours and `none`.
    """
    full = table[digits.clamp(max=9)] + table[10 + colors.clamp(max=3)]
    target = torch.where((digits < 10)[..., None], full, table[14])
    return F.mse_loss(features, target) / table.var()
