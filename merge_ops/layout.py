"""The tensors that a recipe writes, by name and depth, and the settings that give each a value."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from merge_ops.errors import UserError
from merge_ops.recipe import Entry, Gradient, Setting
from merge_ops.registry import Value
from merge_ops.resolving import lookup
from merge_ops.yaml_file import Location

_LAYER = "model.layers."
_BEHIND = ("model.norm", "lm_head.", "score.")


class MisfitError(UserError):
    """A recipe that does not fit the models' layers; `place` is the key at fault."""

    def __init__(self, place: Location, text: str) -> None:
        super().__init__(text)
        self.place = place


@dataclass(frozen=True, slots=True)
class Layout:
    """What a recipe is about once the models are known.

    Attributes:
        layers: number of text layers that depth is measured against.
        names: canonical names of the merged tensors.
    """

    layers: int
    names: tuple[str, ...]

    def values(self, values: Mapping[str, Value]) -> Setting:
        """The setting that gives each tensor the value that stands under its name."""
        return setting_of(values, self.layers)


def layer_of(name: str) -> int | None:
    """The text layer that the tensor of this canonical name lies in, or None outside them."""
    return int(name.split(".")[2]) if name.startswith(_LAYER) else None


def is_behind(name: str) -> bool:
    """Whether the tensor stands behind the last text layer: the final norm and the heads."""
    return name.startswith(_BEHIND)


def is_text(name: str) -> bool:
    """Whether the tensor belongs to the language model, rather than to a tower or projector."""
    return name.startswith((_LAYER, "model.embed_tokens.", *_BEHIND))


def setting_of(values: Mapping[str, Value], layers: int) -> Setting:
    """A short list of entries that gives every tensor its value.

    Numbers become gradients of one entry per layer, other values one entry per tensor; filters
    are as short as they can be without touching a tensor of another value.

    Args:
        values: one value per tensor, by canonical name.
        layers: number of text layers.
    """
    if not values:
        return (Entry(None, 1.0),)  # there is no tensor to give a value to
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values.values())
    if numeric:
        values = {name: float(value) for name, value in values.items()}
    rest = _rest(values, layers, numeric=numeric)
    front: list[Entry] = []
    while True:
        setting = (*front, Entry(None, rest))
        wrong = [n for n in values if lookup(setting, n, layer_of(n), layers) != values[n]]
        if not wrong:
            return setting
        front.append(_entry(wrong[0], values, layers, {e.filter for e in front}, numeric=numeric))
        front.sort(key=lambda entry: -len(entry.filter or ""))


def _rest(values: Mapping[str, Value], layers: int, *, numeric: bool) -> Value | Gradient:
    """The value, or curve over depth, that most tensors have."""
    if not numeric:
        return Counter(values.values()).most_common(1)[0][0]
    found: dict[str, dict[int, float]] = {}
    for name, value in values.items():
        if (layer := layer_of(name)) is not None:
            found.setdefault(_kind(name), {})[layer] = float(value)
    counts: Counter[Gradient] = Counter()
    for curve in found.values():
        counts[_filled(curve, layers)] += len(curve)
    return _shortened(counts.most_common(1)[0][0]) if counts else next(iter(values.values()))


def _kind(name: str) -> str:
    """The name inside the layer, or nothing outside the layers."""
    return name.split(".", 3)[3] if name.startswith(_LAYER) else ""


def _entry(
    name: str, values: Mapping[str, Value], layers: int, taken: set[str | None], *, numeric: bool
) -> Entry:
    """An entry that mends the value of one tensor, and of no other for the worse."""
    kind = _kind(name)
    if kind and numeric:
        for part in _prefixes(kind):
            curve = _curve(part, values, layers)
            if curve is not None and part not in taken:
                return Entry(part, _shortened(curve))
    if not kind:
        for part in _prefixes(name):
            if part not in taken and all(values[n] == values[name] for n in values if part in n):
                return Entry(part, values[name])
    return Entry(name, values[name])


def _prefixes(name: str) -> Iterator[str]:
    """The name's beginnings, part by part: "self_attn", "self_attn.q_proj" ..."""
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _curve(part: str, values: Mapping[str, Value], layers: int) -> Gradient | None:
    """The values over depth of all tensors whose name holds `part`; None if they do not agree."""
    found: dict[int, float] = {}
    outside: list[float] = []
    for name, value in values.items():
        if part not in name:
            continue
        layer = layer_of(name)
        if layer is None:
            outside.append(float(value))
        elif found.setdefault(layer, float(value)) != value:
            return None
    curve = _filled(found, layers)
    return curve if all(value == curve[0] for value in outside) else None


def _filled(found: Mapping[int, float], layers: int) -> Gradient:
    """One value per layer; a layer that has no such tensor takes the value of the one before."""
    value = found[min(found)]
    return tuple(value := found.get(layer, value) for layer in range(layers))


def _shortened(curve: Sequence[float]) -> Value | Gradient:
    """One number where the curve is flat."""
    return curve[0] if len(set(curve)) == 1 else tuple(curve)
