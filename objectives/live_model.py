"""All that an objective may see of a model."""

from typing import Any, Literal, Protocol

import torch
from torch import nn

Part = Literal["tower", "projector", "embeddings", "decoder"]


class LiveModel(Protocol):
    """A model whose weights change between candidates.

    Attributes are read-only for objectives: only the model's owner writes weights.
    """

    @property
    def module(self) -> nn.Module:
        """The whole model; calling it gives logits."""
        ...

    @property
    def decoder(self) -> nn.Module:
        """Its text decoder; all that changes between candidates is usually inside it."""
        ...

    @property
    def score_head(self) -> nn.Module | None:
        """A reward head, hidden size -> 1, or None."""
        ...

    @property
    def processor(self) -> Any:
        """Its processor or tokenizer, with the chat template that formats prompts."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it takes its inputs; it may lie on several."""
        ...

    @property
    def first_changed_layer(self) -> int:
        """The lowest decoder layer that differs from the candidate before."""
        ...

    def fingerprint(self, part: Part, /) -> str:
        """A digest that changes whenever the weights of `part` may have changed."""
        ...
