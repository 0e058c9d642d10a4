"""Gram matrices of the inputs of linear layers, watched through hooks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Grams:
    """X^T X / n of every watched linear layer, X (n, in) being its inputs of all passes so far.

    The mean over tokens, where RegMean (arXiv:2212.09849) writes the sum, so that an expert with
    longer texts does not outweigh the others; with equally many tokens both give the same merge.
    In float32.
    """

    def __init__(self, linears: Mapping[str, Sequence[nn.Linear]]) -> None:
        """Args: `linears` are the layers by name; several of one name share their weight."""
        self._linears = linears
        self._sums: dict[str, Tensor] = {}
        self._tokens = dict.fromkeys(linears, 0)
        for name, layers in linears.items():
            size, device = layers[0].in_features, layers[0].weight.device
            self._sums[name] = torch.zeros(size, size, device=device)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count in the inputs of every forward pass inside the block; nothing may be padded."""
        hooks = [
            layer.register_forward_pre_hook(self._hook(name))
            for name, layers in self._linears.items()
            for layer in layers
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def means(self) -> dict[str, Tensor]:
        """(in, in) by name; zeros where no input came."""
        return {name: total / max(1, self._tokens[name]) for name, total in self._sums.items()}

    def silent(self) -> list[str]:
        """Names of the layers that no input has reached."""
        return [name for name, count in self._tokens.items() if count == 0]

    def _hook(self, name: str) -> Any:
        def count(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0].detach().reshape(-1, args[0].shape[-1]).float()  # (n, in)
            self._sums[name].addmm_(x.T, x)
            self._tokens[name] += len(x)

        return count
