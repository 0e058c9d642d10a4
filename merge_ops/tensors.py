"""Which tensors a target and its experts share: canonical names, partners, parts of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from merge_ops.decoder import Decoder, Shape, find_decoder, pair_layers

Part = Literal["tower", "projector", "embeddings", "decoder"]
_PROJECTORS = ("projector", "connector", "merger")


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """One parameter of the target that recipes may write.

    Attributes:
        name: canonical: the text model's own for language tensors ("model.layers.3..."), the
            target's own on disk for all others.
        layer: index among the text model's layers, or None outside them.
        part: what of the target it belongs to.
    """

    name: str
    layer: int | None
    part: Part


@dataclass(frozen=True, slots=True)
class SharedTensors:
    """What several models have in common.

    Attributes:
        tensors: in the order of the target's parameters; tied ones stand once.
        names: for each model, its own parameter names by canonical name.
        misfits: canonical names of what cannot be merged although all models have it, and why:
            shapes that differ, or a head of its own where the target's is its embeddings.
        layers: how many text layers depth is measured against.
    """

    tensors: tuple[MergedTensor, ...]
    names: tuple[Mapping[str, str], ...]
    misfits: Mapping[str, str]
    layers: int


def share(
    models: Sequence[nn.Module],
    disk: Mapping[str, str] | None = None,
    references: Sequence[str] = (),
    *,
    uneven: bool = False,
) -> SharedTensors:
    """Find the tensors that all models have; the first model is the target.

    Models of one class share every parameter. Otherwise they share the language part: all of the
    decoder's layers, and whatever of norm, embeddings and head each of them has.

    Args:
        models: the target, then the others.
        disk: the target's own names on disk, by parameter name, where they are known.
        references: the models' folders or hub ids, for messages, where they are known.
        uneven: whether embeddings and heads fit that differ in the number of rows alone.

    Raises:
        UserError: the layers of two models do not pair; the tensors that differ are named.
    """
    named: Sequence[str | None] = references or [None] * len(models)
    decoders = [find_decoder(m, reference) for m, reference in zip(models, named, strict=True)]
    text = min(decoders, key=lambda d: len(d.layers))
    same_class = len({type(model) for model in models}) == 1
    names = [
        _names(model, decoder, text, disk or {}, everything=same_class)
        for model, decoder in zip(models, decoders, strict=True)
    ]
    common = [n for n in _untied(names[0], models[0]) if all(n in other for other in names[1:])]
    shapes = [{n: tuple(p.shape) for n, p in _parameters(model).items()} for model in models]
    misfits = {}
    for name in common:
        seen = [shape[own[name]] for own, shape in zip(names, shapes, strict=True)]
        if uneven and is_vocabulary(name):
            seen = [shape[1:] for shape in seen]
        if len(set(seen)) > 1:
            misfits[name] = "must have one shape in all models, but is " + " against ".join(
                f"{shape} in {decoder.owner}" for shape, decoder in _first_of(seen, decoders)
            )
    misfits |= _lost_heads(decoders, names)
    tensors = tuple(describe(name) for name in common if name not in misfits)
    return SharedTensors(tensors, tuple(names), misfits, len(text.layers))


def _names(
    model: nn.Module,
    decoder: Decoder,
    text: Decoder,
    disk: Mapping[str, str],
    *,
    everything: bool,
) -> dict[str, str]:
    """Canonical name -> parameter name of one model."""
    names = language_names(decoder, pair_layers(text, decoder))
    if everything:
        parameters = _parameters(model)
        language = {id(parameters[name]) for name in decoder.shapes}  # by all names of tied ones
        rest = [name for name, parameter in parameters.items() if id(parameter) not in language]
        names |= {disk.get(name, name): name for name in rest}
    return names


def language_names(decoder: Decoder, layers: Sequence[int]) -> dict[str, str]:
    """Canonical name -> parameter name of a language model's tensors.

    Args:
        decoder: where they are.
        layers: which of its layers are the text model's, in order.
    """
    names = {
        f"model.layers.{i}.{key}": name
        for i, j in enumerate(layers)
        for key, name in decoder.layers[j].items()
    }
    return names | {outside_name(role): name for role, name in decoder.outside.items()}


def outside_name(role: str) -> str:
    """The canonical name of a language tensor outside the layers, by its role."""
    return role if role.startswith(("lm_head.", "score.")) else f"model.{role}"


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters(remove_duplicate=False))


def _untied(names: Mapping[str, str], model: nn.Module) -> list[str]:
    """Canonical names in the order of the parameters; a tied tensor once, as embeddings."""
    parameters = _parameters(model)
    place = {name: i for i, name in enumerate(parameters)}
    kept: dict[int, str] = {}
    for name in sorted(names, key=lambda n: (n.startswith("lm_head."), place[names[n]])):
        kept.setdefault(id(parameters[names[name]]), name)
    return sorted(kept.values(), key=lambda n: place[names[n]])


def _first_of(shapes: Sequence[Shape], decoders: Sequence[Decoder]) -> list[tuple[Shape, Decoder]]:
    """Each shape once, with the first model that has it."""
    pairs = list(zip(shapes, decoders, strict=True))
    return [pair for i, pair in enumerate(pairs) if pair[0] not in shapes[:i]]


def _lost_heads(decoders: Sequence[Decoder], names: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The embeddings, if they are the target's head too but not another model's."""
    embeddings, head = "model.embed_tokens.weight", "lm_head.weight"
    if embeddings not in names[0] or names[0].get(head) != names[0][embeddings]:
        return {}
    for decoder, own in zip(decoders[1:], names[1:], strict=True):
        if head in own and own[head] != own.get(embeddings):
            return {
                embeddings: f"must be tied to {head} in all models or in none, but is tied in "
                f"{decoders[0].owner} and not in {decoder.owner}, whose "
                f"{head} {decoder.shapes[own[head]]} has no place in the target"
            }
    return {}


def is_vocabulary(name: str) -> bool:
    """Whether the tensor of this canonical name has one row for each token."""
    return name.startswith(("model.embed_tokens", "lm_head."))


def describe(name: str) -> MergedTensor:
    """What a canonical name says: which layer, and which part of a model."""
    if name.startswith("model.layers."):
        return MergedTensor(name, int(name.split(".")[2]), "decoder")
    if name == "model.embed_tokens.weight" or name.startswith("lm_head."):
        return MergedTensor(name, None, "embeddings")
    if name.startswith(("score.", "model.norm")):
        return MergedTensor(name, None, "decoder")
    return MergedTensor(
        name, None, "projector" if any(p in name for p in _PROJECTORS) else "tower"
    )
