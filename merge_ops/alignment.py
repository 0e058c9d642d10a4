"""How an expert would be merged into a target: which layers meet, what is merged, what is kept."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from merge_ops.config_differences import config_differences, tower_differences
from merge_ops.decoder import Decoder, find_decoder, pair_layers
from merge_ops.errors import UserError
from merge_ops.opening import Opened, open_models, rows_of
from merge_ops.tensors import describe, is_vocabulary, outside_name
from merge_ops.towers import Tower, TowerMisfitError, find_towers, fit
from merge_ops.verify import HEAD, VOCABULARY, donor_recipe
from merge_ops.vocabulary import agree, summary

_WORDS = {
    "tower": "towers",
    "projector": "projector",
    "embeddings": "embeddings and head",
    "decoder": "final norm",
}


@dataclass(frozen=True, slots=True)
class Alignment:
    """What `align` found.

    Attributes:
        target: the target's class.
        expert: the expert's class.
        layers: pairs of (the expert's layer, the target's layer).
        depths: how many layers the expert and the target have in all.
        merged: how many tensors are merged, by where they stand.
        kept: how many tensors keep the target's values, by where they stand.
        unused: how many tensors of the expert go nowhere, by where they stand.
        towers: for each tower of the target: its path, how many tensors it has, and the path of
            the expert's tower that could fill it, if there is one.
        differences: what the target computes otherwise than the expert, in words.
        vocabulary: which rows of embeddings and head would be merged if they were not excluded.
        can_be_verified: whether both have a head, so that a graft can be compared by logits.
        adapter: what the expert's adapter does to it, in words, or "".
        notes: what the user should know about adapters, a line each.
    """

    target: str
    expert: str
    layers: tuple[tuple[int, int], ...]
    depths: tuple[int, int]
    merged: Mapping[str, int]
    kept: Mapping[str, int]
    unused: Mapping[str, int]
    towers: tuple[tuple[str, int, str | None], ...]
    differences: tuple[str, ...]
    vocabulary: tuple[str, ...]
    can_be_verified: bool
    adapter: str = ""
    notes: tuple[str, ...] = ()


def align(target: str, expert: str, exclude: Sequence[str] = VOCABULARY) -> Alignment:
    """Find out from headers alone how an expert pairs with a target; no weights are read.

    Args:
        target: folder or hub id of the model that would be written.
        expert: folder or hub id of the model that would be merged into it.
        exclude: parts of the names of tensors that are kept from the target.

    Raises:
        UserError: a model cannot be read, or the two do not pair; tensors and shapes are named.
    """
    opened = open_models(donor_recipe(target, expert, exclude))
    models = [opened.checkpoints[target].model, opened.checkpoints[expert].model]
    into, out = (find_decoder(model) for model in models)
    text = min((into, out), key=lambda decoder: len(decoder.layers))
    layers = tuple(zip(pair_layers(text, out), pair_layers(text, into), strict=True))
    configs: list[Any] = [model.config for model in models]
    names = [tensor.name for tensor in opened.tensors]
    merged = [{opened.own_name(reference, n) for n in names} for reference in (target, expert)]
    meeting = {j for _, j in layers}, {i for i, _ in layers}
    pairs = _tower_pairs(find_towers(models[0], into), find_towers(models[1], out))
    return Alignment(
        target=into.owner,
        expert=out.owner,
        layers=layers,
        depths=(len(out.layers), len(into.layers)),
        merged=dict(Counter(_place(tensor.name) for tensor in opened.tensors)),
        kept=_left(models[0], into, merged[0], meeting[0]),
        unused=_left(models[1], out, merged[1], meeting[1]),
        towers=tuple((t.path, len(t.names), own.path if own else None) for t, own in pairs),
        differences=(
            *config_differences(*configs),
            *_tie_lines(into, out),
            *_tower_lines(models, pairs),
        ),
        vocabulary=tuple(_vocabulary(opened)),
        can_be_verified=HEAD in into.outside and HEAD in out.outside,
        adapter=_adapter_words(opened, expert),
        notes=tuple(opened.notes()),
    )


def _adapter_words(opened: Opened, expert: str) -> str:
    """How many of the expert's tensors its adapter changes, how, and how many of those count."""
    adapter = opened.checkpoints[expert].adapter
    if adapter is None:
        return ""
    merged = {opened.own_name(expert, tensor.name) for tensor in opened.tensors}
    ranks = ", ".join(map(str, adapter.ranks))
    kinds = [f"rank {ranks}"] if ranks else []
    kinds += [f"{adapter.replaced} replaced"] if adapter.replaced else []
    used = len(merged & adapter.edits.keys())
    changed = len(set(map(id, adapter.edits.values())))  # tied ones once
    return f"{changed} tensors changed ({'; '.join(kinds)}), {used} of them merged"


def _vocabulary(opened: Opened) -> list[str]:
    """What the tokenizers say of every tensor that has a row for each token, in words."""
    texts = {}
    for name in (t.name for t in opened.shared.tensors if is_vocabulary(t.name)):
        try:
            texts[name] = agree(rows_of(opened.checkpoints, opened.shared, name)).text
        except UserError as error:
            return [str(error)]
    return summary(texts)


def _tower_pairs(
    towers: Sequence[Tower], owned: Sequence[Tower]
) -> list[tuple[Tower, Tower | None]]:
    """Each tower of the target with the expert's that could fill it."""

    def partner(tower: Tower) -> Tower | None:
        try:
            return fit(tower, owned)[0]
        except TowerMisfitError:
            return None

    return [(tower, partner(tower)) for tower in towers]


def _tower_lines(
    models: Sequence[nn.Module], pairs: Sequence[tuple[Tower, Tower | None]]
) -> Iterator[str]:
    """What towers of equal shapes compute differently."""
    for tower, own in pairs:
        if own is not None and "" not in tower.names:
            modules = models[0].get_submodule(tower.path), models[1].get_submodule(own.path)
            yield from tower_differences(tower.name, *modules)


def _left(
    model: nn.Module, decoder: Decoder, merged: Collection[str], meeting: Collection[int]
) -> dict[str, int]:
    """How many parameters of a model are not merged, by where they stand."""
    places = {name: _place(outside_name(role)) for role, name in decoder.outside.items()}
    for i, layer in enumerate(decoder.layers):
        where = "layers" if i in meeting else "layers of another kind"
        places |= dict.fromkeys(layer.values(), where)
    names = [name for name, _ in model.named_parameters() if name not in merged]
    return dict(Counter(places.get(name) or _place(name) for name in names))


def _place(name: str) -> str:
    """Where the tensor of a canonical name stands, in words."""
    if name.startswith("score."):
        return "reward head"
    tensor = describe(name)
    return "layers" if tensor.layer is not None else _WORDS[tensor.part]


def _tie_lines(target: Decoder, expert: Decoder) -> list[str]:
    """Whether only one of them shares its embeddings with its head."""
    words = [
        "the embeddings" if d.outside[HEAD] == d.outside.get("embed_tokens.weight") else "its own"
        for d in (target, expert)
        if HEAD in d.outside
    ]
    if len(set(words)) < 2:
        return []
    return [f"the head is {words[0]} in the target and {words[1]} in the expert"]
