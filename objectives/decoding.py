"""Greedy decoding on the live model, from a replayed prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from objectives.live_model import LiveModel
from objectives.prompts import tokenizer_of
from objectives.replay import DecoderCall, head_logits, replay

Trie = Mapping[int, "Trie"]
"""Allowed token sequences: each node maps a next token to the node behind it."""


def token_trie(sequences: Sequence[Sequence[int]]) -> Trie:
    """The trie of the given token sequences."""
    root: dict[int, Any] = {}
    for sequence in sequences:
        node = root
        for token in sequence:
            node = node.setdefault(token, {})
    return root


@torch.no_grad()
def greedy(
    live: LiveModel, call: DecoderCall, max_new_tokens: int, allowed: Trie | None = None
) -> list[list[int]]:
    """Write the most likely next token until each answer has ended.

    Args:
        live: the model as it is now.
        call: the prompts, padded on the left.
        max_new_tokens: where an answer that does not end is cut.
        allowed: if given, an answer is one of the trie's sequences.

    Returns:
        Token ids per prompt, up to and without the end token.
    """
    ends = _end_tokens(live)
    cache, mask = DynamicCache(), call.attention_mask
    logits = head_logits(live, replay(live, call, cache)[:, -1])  # (B, V)
    nodes = [allowed] * len(mask)
    written: list[list[int]] = [[] for _ in nodes]
    open_rows = set(range(len(nodes)))
    for step in range(max_new_tokens):
        tokens = _permitted(logits, nodes, open_rows).argmax(-1)  # (B,)
        for row, token in enumerate(tokens.tolist()):
            if row not in open_rows:
                continue
            node = nodes[row] = None if nodes[row] is None else nodes[row].get(token)  # type: ignore[union-attr]
            if token in ends:
                open_rows.discard(row)
                continue
            written[row].append(token)
            if allowed is not None and not node:
                open_rows.discard(row)
        if not open_rows or step + 1 == max_new_tokens:
            break
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        logits = live.module(
            input_ids=tokens[:, None],
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
    return written


def _permitted(logits: Tensor, nodes: Sequence[Trie | None], open_rows: set[int]) -> Tensor:
    """Logits with all but the allowed next tokens at minus infinity."""
    if all(node is None for node in nodes):
        return logits
    closed = torch.full_like(logits, float("-inf"))
    for row, node in enumerate(nodes):
        if row in open_rows and node is not None:
            tokens = torch.tensor(list(node), device=logits.device)
            closed[row, tokens] = logits[row, tokens]
    return closed


def _end_tokens(live: LiveModel) -> set[int]:
    """Tokens that end an answer, from the model's generation config."""
    config = getattr(live.module, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    if ends is None:
        ends = tokenizer_of(live).eos_token_id
    return set(ends) if isinstance(ends, (list, tuple)) else {ends}
