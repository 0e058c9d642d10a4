"""Writing by transformers' continuous batching where it serves: greedy texts without images."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from objectives.decoding import ReplayWriter, end_tokens
from objectives.live_model import LiveModel
from objectives.prompts import tokenizer_of
from objectives.token_budget import ON_CPU
from objectives.writer import Job, Text

_PAGE = 32
"""Tokens of a page on the CPU."""


class ContinuousWriter:
    """Hands prompts to the model's own `generate_batch`; what that cannot serve is replayed.

    It takes token ids alone, so prompts with images are replayed; so are texts that are sampled
    (it has no random numbers per text) or limited to a list.
    """

    def __init__(self, report: Callable[[str], None] = lambda _text: None) -> None:
        """Args: `report` is told once if the model or this transformers cannot serve at all."""
        self._report = report
        self._replay = ReplayWriter()
        self._broken = False
        self.served = 0

    @torch.no_grad()
    def write(self, live: LiveModel, job: Job, /) -> list[tuple[Text, ...]]:
        """For each prompt its texts, one per vote."""
        pictured = any(prompt.images for prompt in job.prompts)
        sampled = job.writing.temperature > 0
        if self._broken or pictured or sampled or job.writing.allowed:
            return self._replay.write(live, job)
        try:
            tokens = self._generate(live, job)
        except Exception as error:
            self._broken = True
            self._report(f"continuous batching does not serve this model ({error}): replayed.")
            return self._replay.write(live, job)
        self.served += len(tokens)
        ends, tokenizer = end_tokens(live), tokenizer_of(live)
        return [(_text(tokenizer, own, ends, job),) * job.writing.votes for own in tokens]

    def _generate(self, live: LiveModel, job: Job) -> list[list[int]]:
        """Tokens behind each prompt, in order.

        Raises:
            RuntimeError: not every prompt was served.
        """
        module: Any = live.module
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=job.writing.max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(end_tokens(live)),
            pad_token_id=tokenizer_of(live).pad_token_id,
        )
        ids = [list(own) for own in job.ids]
        room = _room(ids, job.writing.max_new_tokens) if live.device.type == "cpu" else None
        found = list(
            module.generate_batch(
                ids, generation_config=config, continuous_batching_config=room
            ).values()
        )
        if len(found) != len(ids) or any(one.error for one in found):
            raise RuntimeError(f"{len(found)} of {len(ids)} prompts were served")
        return [list(one.generated_tokens) for one in found]


def _room(ids: Sequence[Sequence[int]], new: int) -> ContinuousBatchingConfig:
    """Just the pages that these prompts need: on the CPU it would take most of the memory."""
    pages = sum(-(-(len(own) + new) // _PAGE) + 1 for own in ids)
    return ContinuousBatchingConfig(
        page_size=_PAGE, num_blocks=pages, max_batch_tokens=max(ON_CPU, *map(len, ids))
    )


def _text(tokenizer: Any, tokens: Sequence[int], ends: set[int], job: Job) -> Text:
    """Up to the end token, and then up to the first stop string."""
    count = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    text = str(tokenizer.decode(tokens[:count], skip_special_tokens=True))
    places = [place for stop in job.writing.stop if (place := text.find(stop)) >= 0]
    ended = count < len(tokens) or bool(places)
    return Text(text[: min(places)] if places else text, count, truncated=not ended)
