"""From an adapter's names to a model's: current, legacy, or those of the text model inside."""

from collections.abc import Callable

from torch import nn

from merge_ops.decoder import Decoder, find_decoder
from merge_ops.disk_names import renamer
from merge_ops.tensors import language_names

Finder = Callable[[str], str | None]
"""The model's name of a parameter, or None if it has none such."""


def parameter_finder(model: nn.Module) -> Finder:
    """How to find the parameters that an adapter names.

    In this order: by the name that the model has in memory; by a name that transformers' loading
    turns into it, which is how older releases had them in memory, too; by the name that the text
    model has by itself, so that a text adapter goes on a vision-language model.

    Args:
        model: with weights or without.
    """
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    rename = renamer(model)
    decoder = find_decoder(model)
    canonical = language_names(decoder, _text_layers(decoder))

    def find(name: str) -> str | None:
        if name in names:
            return name
        renamed = rename(name)
        if renamed in names:
            return renamed
        return canonical.get(name) or canonical.get(f"model.{name}")

    return find


def _text_layers(decoder: Decoder) -> list[int]:
    """Layers that attend to pictures alone (Mllama's) are not the text model's."""
    crossed = [any("cross_attn" in key for key in layer) for layer in decoder.layers]
    return [i for i, cross in enumerate(crossed) if not cross or all(crossed)]
