"""Replaying the text decoder's own call: everything before it runs once, not once a candidate.

While only decoder weights change between candidates, what the decoder is called with (projected
image features, embeddings, masks, positions) stays the same, whatever the model's family.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from objectives.live_model import LiveModel


@dataclass(frozen=True, slots=True)
class DecoderCall:
    """One batch at the decoder's door.

    Attributes:
        arguments: what the decoder was called with by name, without any cache of its own.
        attention_mask: (B, T), 1 where a token counts.
        input_ids: (B, T).
    """

    arguments: Mapping[str, Any]
    attention_mask: Tensor
    input_ids: Tensor


class _Stop(Exception):  # noqa: N818 (not an error: it ends a forward pass at the decoder)
    pass


@torch.no_grad()
def capture(live: LiveModel, inputs: Mapping[str, Tensor]) -> DecoderCall:
    """Run the model up to its decoder and keep what the decoder would have been called with."""
    caught: dict[str, Any] = {}

    def stop(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args:
            raise RuntimeError("the decoder must be called by keyword to be replayed.")
        caught.update(kwargs)
        raise _Stop

    hook = live.decoder.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        live.module(**inputs, use_cache=False)
    except _Stop:
        pass
    finally:
        hook.remove()
    dropped = ("past_key_values", "use_cache")
    arguments = {key: value for key, value in caught.items() if key not in dropped}
    return DecoderCall(arguments, inputs["attention_mask"], inputs["input_ids"])


@torch.no_grad()
def replay(live: LiveModel, call: DecoderCall, cache: Any = None) -> Tensor:
    """The decoder's last hidden states for a captured call: (B, T, hidden size).

    Args:
        live: the model as it is now.
        call: as `capture` gave it.
        cache: a transformers cache to fill with keys and values, or None.
    """
    output = live.decoder(**call.arguments, past_key_values=cache, use_cache=cache is not None)
    return output.last_hidden_state.to(live.device)  # type: ignore[no-any-return]
