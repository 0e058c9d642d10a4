"""Going on behind a prompt that the decoder has read: one prompt pass serves all that follows.

What the decoder is called with behind the prompt is made from the prompt's captured call by the
name of each argument, not by the model's family; an argument that has no rule is refused.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from objectives.live_model import LiveModel
from objectives.replay import DecoderCall, replay

_MADE_ANEW = {"input_ids", "inputs_embeds", "attention_mask", "position_ids"}
_OF_IMAGES = {"cross_attention_states", "visual_pos_masks", "deepstack_visual_embeds"}
"""What brings images into the prompt; behind it they are in the cache, and nothing is shown."""
_LAST_ROW = {"cross_attention_mask", "full_text_row_masked_out_mask"}
"""(B, 1, T, ...): what follows the prompt sees the images that its last token sees."""


class NoRuleError(Exception):
    """The decoder takes an argument that nobody knows how to continue."""


@dataclass(slots=True)
class Branch:
    """Rows that have been read so far, and can go on.

    Attributes:
        cache: their keys and values; grows.
        mask: (R, T), 1 where a token counts.
        last: (R, hidden size), hidden state of the last token of each prompt.
        positions: the next position, (..., R or 1), or None where the decoder counts by itself.
        named: further arguments, as they are behind the prompt.
        embeds: whether the decoder is called with embeddings.
    """

    cache: DynamicCache
    mask: Tensor
    last: Tensor
    positions: Tensor | None
    named: Mapping[str, Any] = field(default_factory=dict)
    embeds: bool = True

    def select(self, rows: Sequence[int]) -> "Branch":
        """The given rows, in that order and as often as they stand there; this one stays as is."""
        index = torch.tensor(rows, device=self.mask.device)
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        for layer in cache.layers:
            if getattr(layer, "is_initialized", False):
                layer.batch_select_indices(index)  # type: ignore[union-attr]
        positions = self.positions
        if positions is not None and positions.shape[-1] > 1:
            positions = positions[..., index]
        named = {k: v[index] if k in _LAST_ROW else v for k, v in self.named.items()}
        return Branch(cache, self.mask[index], self.last[index], positions, named, self.embeds)


@torch.no_grad()
def enter(live: LiveModel, call: DecoderCall) -> Branch:
    """Read the prompts of a captured call, padded on the left.

    Raises:
        NoRuleError: what follows the prompt could not be told to this decoder.
    """
    named = _behind(call.arguments)
    cache = DynamicCache()  # without a config: full-length layers, which captured masks fit
    hidden = replay(live, call, cache)
    positions = _next_position(call.arguments.get("position_ids"))
    embeds = call.arguments.get("inputs_embeds") is not None
    return Branch(cache, call.attention_mask, hidden[:, -1], positions, named, embeds)


@torch.no_grad()
def go_on(live: LiveModel, branch: Branch, tokens: Tensor, mask: Tensor) -> Tensor:
    """Read further tokens of every row.

    Args:
        live: the model as it is now.
        branch: what was read; it grows by the tokens.
        tokens: (R, n).
        mask: (R, n), 0 at tokens that only fill a row up, on the right.

    Returns:
        The decoder's last hidden states, (R, n, hidden size).
    """
    count = tokens.shape[1]
    branch.mask = torch.cat([branch.mask, mask.to(branch.mask)], dim=1)
    named = dict(branch.named)
    for name in _LAST_ROW & named.keys():
        named[name] = named[name].expand(-1, -1, count, -1)
    if branch.positions is not None:
        steps = torch.arange(count, device=tokens.device)
        named["position_ids"] = branch.positions[..., None] + steps
        branch.positions = branch.positions + count
    if branch.embeds:
        embed = live.module.get_input_embeddings()  # type: ignore[operator]
        named["inputs_embeds"] = embed(tokens)
    else:
        named["input_ids"] = tokens
    output = live.decoder(
        **named, attention_mask=branch.mask, past_key_values=branch.cache, use_cache=True
    )
    return output.last_hidden_state  # type: ignore[no-any-return]


def _behind(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments behind the prompt, but for tokens, mask and positions."""
    named: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in _MADE_ANEW or name in _OF_IMAGES or value is None:
            continue
        if name in _LAST_ROW:
            named[name] = value[:, :, -1:]
        elif isinstance(value, (Tensor, list, tuple, dict)):
            raise NoRuleError(f"the decoder's argument {name}")
        else:
            named[name] = value
    return named


def _next_position(positions: Tensor | None) -> Tensor | None:
    """What stands behind the last position, (..., B).

    Of several planes (M-RoPE) all go on behind the largest; a first of four counts tokens alone.
    """
    if positions is None:
        return None
    if positions.ndim == 2:  # (B or 1, T)
        return positions[:, -1] + 1
    planes = positions[-3:]  # (3, B, T)
    behind = planes.amax((0, 2)).expand(3, -1) + 1
    if len(positions) == 3:
        return behind
    return torch.cat([positions[:1, :, -1] + 1, behind])
