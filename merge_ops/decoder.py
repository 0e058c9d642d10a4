"""The language part of any model, by role, and how two models' language parts pair up.

Nothing here knows a model family: everything is read off the module tree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from merge_ops.errors import UserError

Shape = tuple[int, ...]

_LISTED = 12
"""How many differing tensors a refusal names."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """Where the language tensors of a model are.

    Attributes:
        owner: what the model is called in messages: its class, and where it lies if known.
        module: the text decoder itself (without its head).
        stack: its layers, in the order in which it runs them.
        layers: for each layer, parameter names in the model by their names inside the layer.
        outside: names of the rest of the decoder and of the heads, by role: "norm.weight",
            "embed_tokens.weight", "lm_head.weight", "score.weight".
        shapes: shape of every parameter named above, by its name in the model.
    """

    owner: str
    module: nn.Module
    stack: nn.ModuleList
    layers: tuple[Mapping[str, str], ...]
    outside: Mapping[str, str]
    shapes: Mapping[str, Shape]

    def signature(self, layer: int) -> tuple[tuple[str, Shape], ...]:
        """Sorted names and shapes of a layer; layers of one kind have equal signatures."""
        return tuple(sorted((k, self.shapes[n]) for k, n in self.layers[layer].items()))


def find_decoder(model: nn.Module, reference: str | None = None) -> Decoder:
    """Describe the language part of a causal LM, a sequence classifier or a VLM.

    Args:
        model: with weights or without.
        reference: the folder or hub id that it comes from, for messages.

    Raises:
        UserError: the model has no stack of as many layers as its text config says.
    """
    inner: Any = getattr(model, "thinker", model)  # Omni wrappers keep the language model there
    decoder = inner.get_decoder()
    while hasattr(decoder, "get_decoder") and (deeper := decoder.get_decoder()) is not decoder:
        decoder = deeper
    count = getattr(inner.config.get_text_config(decoder=True), "num_hidden_layers", 0)
    kind = type(model).__name__
    owner = kind if reference is None else f"{reference} ({kind})"
    decoder, stack_name, stack = _stack(decoder, count, owner)
    names = {id(p): n for n, p in reversed(list(model.named_parameters(remove_duplicate=False)))}
    layers = tuple({k: names[id(p)] for k, p in layer.named_parameters()} for layer in stack)
    outside = {
        k: names[id(p)]
        for k, p in decoder.named_parameters()
        if not k.startswith(f"{stack_name}.")
    }
    outside = _with_embeddings(outside, inner, names) | _heads(inner, names)
    wanted = {n for layer in layers for n in layer.values()} | set(outside.values())
    shapes = {
        n: tuple(p.shape) for n, p in model.named_parameters(remove_duplicate=False) if n in wanted
    }
    return Decoder(owner, decoder, stack, layers, outside, shapes)


def _stack(decoder: nn.Module, count: int, owner: str) -> tuple[nn.Module, str, nn.ModuleList]:
    """The innermost module that holds the layer stack, the stack's name in it, and the stack."""
    for module in decoder.modules():
        stacks = {
            name: child
            for name, child in module.named_children()
            if count and isinstance(child, nn.ModuleList) and len(child) == count
        }
        if stacks:
            name = "layers" if "layers" in stacks else next(iter(stacks))
            return module, name, stacks[name]
    raise UserError(
        f"{owner}: its decoder must hold a stack of {count} layers (num_hidden_layers), "
        "but has none; the checkpoint's config does not describe it."
    )


def _with_embeddings(
    outside: Mapping[str, str], model: Any, names: Mapping[int, str]
) -> dict[str, str]:
    """The input embeddings under one role, whatever they are called and wherever they stand."""
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except (NotImplementedError, AttributeError):  # transformers knows none of this model
        weight = None
    own = names.get(id(weight))
    if own is None:
        return dict(outside)
    return {**{k: n for k, n in outside.items() if n != own}, "embed_tokens.weight": own}


def _heads(model: nn.Module, names: Mapping[int, str]) -> dict[str, str]:
    """Names of the output embeddings and of a reward head."""
    get_output = getattr(model, "get_output_embeddings", None)
    heads = {"lm_head": get_output() if get_output else None}
    heads["score"] = getattr(model, "score", None)
    return {
        f"{role}.{k}": names[id(p)]
        for role, head in heads.items()
        if isinstance(head, nn.Module)
        for k, p in head.named_parameters()
    }


def pair_layers(source: Decoder, target: Decoder) -> tuple[int, ...]:
    """For each layer of `source`, the index of its partner in `target`.

    Layers pair in order; target layers of another kind (the cross-attention layers of a VLM) are
    passed over.

    Raises:
        UserError: the layers do not pair one to one; names the tensors that differ.
    """
    kinds = [source.signature(i) for i in range(len(source.layers))]
    partners = [j for j in range(len(target.layers)) if target.signature(j) in set(kinds)]
    if [target.signature(j) for j in partners] == kinds:
        return tuple(partners)
    raise UserError(
        f"the layers of the models must pair one to one, but {source.owner} has "
        f"{len(source.layers)} layers and {target.owner} has {len(partners)} of the same kind "
        f"among {len(target.layers)}; {_difference(source, target)}."
    )


def layer_map(pairs: Sequence[tuple[int, int]]) -> str:
    """Pairs of layers as runs of neighbours: "0-2 -> 0-2, 3-6 -> 4-7"."""
    runs: list[list[tuple[int, int]]] = []
    for pair in pairs:
        if runs and (pair[0] - 1, pair[1] - 1) == runs[-1][-1]:
            runs[-1].append(pair)
        else:
            runs.append([pair])
    return ", ".join(
        f"{_span(run[0][0], run[-1][0])} -> {_span(run[0][1], run[-1][1])}" for run in runs
    )


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _difference(source: Decoder, target: Decoder) -> str:
    """In words, what keeps layers from pairing: tensors and shapes, else their number or order."""
    kinds = {target.signature(j) for j in range(len(target.layers))}
    for i in range(len(source.layers)):
        if source.signature(i) not in kinds:
            closest = min(kinds, key=lambda kind: len(set(kind) ^ set(source.signature(i))))
            return differing(f"model.layers.{i}", dict(source.signature(i)), dict(closest))
    return "each kind of layer is in both, but not in the same number and order"


def differing(prefix: str, ours: Mapping[str, Shape], theirs: Mapping[str, Shape]) -> str:
    """What differs between two parts of models, in words: names and shapes of tensors."""
    found = [
        f"{prefix}.{key} is {ours.get(key, 'absent')} against {theirs.get(key, 'absent')}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    more = f"; and {len(found) - _LISTED} more differ" if len(found) > _LISTED else ""
    return "; ".join(found[:_LISTED]) + more
