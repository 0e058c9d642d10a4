"""Examples on their way through a decoder, one layer at a time, whatever the model's family.

The decoder's own code runs for every layer; the layers below are replaced by what the one below
put out, so that a walk through all layers costs about as much as two plain passes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from objectives.live_model import LiveModel
from objectives.observation import Item
from objectives.replay import DecoderCall, capture, replay


class _Stop(Exception):  # noqa: N818 (not an error: it ends a forward pass behind a layer)
    pass


class Walk:
    """The examples of one expert, and how far they have come."""

    def __init__(
        self, live: LiveModel, layers: Sequence[nn.Module], items: Sequence[Item]
    ) -> None:
        """Args: `layers` are the decoder's, in the order in which it runs them."""
        self._live = live
        self._layers = layers
        self._items = items
        self._calls: list[DecoderCall] = []
        self._outputs: list[Any] = []

    def enter(self) -> None:
        """Run what stands before the decoder, with the weights as they are now."""
        passages = [passage for item in self._items for passage in item.passages]
        self._calls = [capture(self._live, passage.inputs) for passage in passages]
        self._outputs = [None] * len(self._calls)

    def run(self, layer: int, *, go_on: bool) -> None:
        """Run one layer on what the layers below it put out; with `go_on` its output is kept."""
        for i, call in enumerate(self._calls):
            output = self._run(layer, call, self._outputs[i])
            if go_on:
                self._outputs[i] = output

    @torch.no_grad()
    def leave(self) -> None:
        """Run what stands behind the layers, up to the log-likelihoods of the gold answers."""
        hidden = []
        for call, output in zip(self._calls, self._outputs, strict=True):
            with _replaced(self._layers, output):
                hidden.append(replay(self._live, call))
        for item in self._items:
            own = [hidden.pop(0) for _ in item.passages]
            item.log_likelihood(self._live, own)

    def _run(self, layer: int, call: DecoderCall, before: Any) -> Any:
        kept = []

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            kept.append(output)
            raise _Stop

        hook = self._layers[layer].register_forward_hook(keep)
        try:
            with _replaced(self._layers[:layer], before):
                replay(self._live, call)
        except _Stop:
            pass
        finally:
            hook.remove()
        return kept[0] if kept else before  # a layer that the decoder passes over


@contextmanager
def _replaced(layers: Sequence[nn.Module], output: Any) -> Iterator[None]:
    """Let each of the layers return `output` at once, inside the block.

    Each returns a copy: some decoders add image features to what a layer put out, in place.
    """
    before = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        vars(layer)["forward"] = lambda *_args, **_named: _copy(output)
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            if own is None:
                del vars(layer)["forward"]
            else:
                vars(layer)["forward"] = own


def _copy(output: Any) -> Any:
    return tuple(map(_copy, output)) if isinstance(output, tuple) else output.clone()
