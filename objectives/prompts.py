"""From prompts to the model's inputs, through the model's own processor and chat template."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.out_of_memory import is_out_of_memory
from objectives.request import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image

Inputs = dict[str, Tensor]
"""What the model is called with; `input_ids` and `attention_mask` are (B, T), padded left."""


def tokenizer_of(live: LiveModel) -> Any:
    """The tokenizer inside the model's processor, or the processor of a text model itself."""
    return getattr(live.processor, "tokenizer", live.processor)


def render(live: LiveModel, prompt: Prompt, response: str | None = None) -> str:
    """The prompt as text; with `response`, the whole conversation to its end.

    Args:
        live: its processor's chat template formats the conversation.
        prompt: the turns so far.
        response: what the assistant says, or None to let it speak.

    Raises:
        ObjectiveError: the processor has no chat template, or it refuses the conversation.
    """
    said = [(turn.role, turn.images, turn.text) for turn in prompt.turns]
    begun = said[-1][0] == "assistant"
    if response is not None and begun:
        said[-1] = ("assistant", said[-1][1], said[-1][2] + response)
    elif response is not None:
        said.append(("assistant", 0, response))
    turns = [
        {"role": role, "content": [*({"type": "image"} for _ in range(images)), _text(text)]}
        for role, images, text in said
    ]
    speak = response is None
    end = {"continue_final_message": True} if speak and begun else {}
    try:
        text = live.processor.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=speak and not begun, **end
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise ObjectiveError(
            f"the chat template does not format {prompt.turns[-1].text[:60]!r}: {error}"
        ) from None
    return str(text)


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def token_ids(live: LiveModel, text: str) -> list[int]:
    """Tokens of a rendered text; one placeholder stands for each image."""
    return list(tokenizer_of(live)(text, add_special_tokens=False)["input_ids"])


def encode(live: LiveModel, texts: Sequence[str], images: Sequence[Sequence["Image"]]) -> Inputs:
    """Tokenise a batch, padded on the left, and prepare the images; tensors on the model's device.

    Args:
        live: its processor does the work.
        texts: as `render` gives them; they carry their own special tokens.
        images: those of each text, in order; either every text shows some, or none does.

    Returns:
        What the model is called with.

    Raises:
        ObjectiveError: the processor or tokenizer fails at it, for whatever reason.
    """
    processor = live.processor
    tokenizer = tokenizer_of(live)
    tokenizer.padding_side = "left"
    pictures = [list(shown) for shown in images if shown]
    call = processor if pictures else tokenizer
    pictured = {"images": pictures} if pictures else {}
    try:
        batch = call(
            text=list(texts),
            padding=True,
            add_special_tokens=False,
            return_tensors="pt",
            **pictured,
        )
    except Exception as error:  # tokenizers raise what they like
        if is_out_of_memory(error):
            raise
        raise ObjectiveError(
            f"the model's processor does not read {texts[0][-60:]!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return {
        name: value.to(live.device)
        for name, value in batch.items()
        if isinstance(value, torch.Tensor) and name != "labels"
    }


def mark_response(live: LiveModel, inputs: Inputs, counts: Sequence[int]) -> Inputs:
    """Tell a model that reads its prompt in both directions where the response begins.

    The processors of such models (PaliGemma's) take a `suffix`, and mark it by token type 1;
    without that mark the response would see its own future. Others are left alone.

    Args:
        live: gives the processor.
        inputs: whole conversations, padded on the left.
        counts: how many tokens at each row's end are not the prompt's.
    """
    takes_suffix = "suffix" in inspect.signature(type(live.processor).__call__).parameters
    if not takes_suffix or "token_type_ids" not in inputs:
        return inputs
    types = inputs["token_type_ids"].clone()
    for row, count in zip(types, counts, strict=True):
        row[-count:] = 1
    return {**inputs, "token_type_ids": types}


def without_tails(inputs: Inputs, drop: Sequence[int], pad: int) -> Inputs:
    """The batch without the last `drop` tokens of each row, still padded on the left.

    Args:
        inputs: as `encode` gives them.
        drop: tokens to take off each row's end.
        pad: what fills `input_ids` at the front.
    """
    if not any(drop):
        return inputs
    width = inputs["input_ids"].shape[1]
    cut = dict(inputs)
    for name, tensor in inputs.items():
        if tensor.ndim < 2 or tensor.shape[:2] != (len(drop), width):
            continue  # not one entry per token
        rows = [torch.roll(row, count, 0) for row, count in zip(tensor, drop, strict=True)]
        for row, count in zip(rows, drop, strict=True):
            row[:count] = pad if name == "input_ids" else 0
        cut[name] = torch.stack(rows)[:, min(drop) :]
    return cut
