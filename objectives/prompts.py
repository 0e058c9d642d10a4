"""From examples to the model's inputs, through the model's own processor and chat template."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel

Inputs = dict[str, Tensor]
"""What the model is called with; `input_ids` and `attention_mask` are (B, T), padded left."""


def tokenizer_of(live: LiveModel) -> Any:
    """The tokenizer inside the model's processor, or the processor of a text model itself."""
    return getattr(live.processor, "tokenizer", live.processor)


def render(live: LiveModel, example: Example, answer: str | None, *, image: bool) -> str:
    """The prompt as text; with `answer`, the whole conversation.

    Args:
        live: its processor's chat template formats the conversation.
        example: the question and its images.
        answer: what the assistant says, or None to let it speak.
        image: show the example's images, if it has any.

    Raises:
        ObjectiveError: the processor has no chat template, or it refuses the conversation.
    """
    shown = len(example.images) if image else 0
    content = [
        *({"type": "image"} for _ in range(shown)),
        {"type": "text", "text": example.question},
    ]
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if answer is not None:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    try:
        text = live.processor.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=answer is None
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise ObjectiveError(
            f"{example.id}: the chat template does not format it: {error}"
        ) from None
    return str(text)


def answer_length(live: LiveModel, example: Example, answer: str) -> int:
    """How many tokens the answer has at the end of the conversation, its end included."""
    tokenizer = tokenizer_of(live)

    def count(said: str | None) -> int:
        text = render(live, example, said, image=False)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return count(answer) - count(None)


def encode(
    live: LiveModel, texts: Sequence[str], examples: Sequence[Example], *, image: bool
) -> Inputs:
    """Tokenise a batch, padded on the left, and prepare the images; tensors on the model's device.

    Args:
        live: its processor does the work.
        texts: as `render` gives them; they carry their own special tokens.
        examples: one per text; their images are used in order.
        image: whether the texts show the images.

    Returns:
        What the model is called with.
    """
    processor = live.processor
    tokenizer = tokenizer_of(live)
    tokenizer.padding_side = "left"
    pictures = [list(e.images) for e in examples if image and e.images]
    call = processor if pictures else tokenizer
    pictured = {"images": pictures} if pictures else {}
    batch = call(
        text=list(texts), padding=True, add_special_tokens=False, return_tensors="pt", **pictured
    )
    return {k: v.to(live.device) for k, v in batch.items() if isinstance(v, torch.Tensor)}
