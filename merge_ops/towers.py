"""Towers: the parts of a model outside its language model, and which one gives another's tensors.

Nothing here knows a model family: a tower is read off the module tree, and one fits another by the
names and shapes of its tensors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import nn

from merge_ops.decoder import Decoder, Shape, differing

_LISTED = 4
"""How many tensors of a tower that has no place a refusal names."""


@dataclass(frozen=True, slots=True)
class Tower:
    """A largest part of the module tree that holds no language tensor: an encoder, a projector.

    Attributes:
        path: its name in the model, such as "model.visual".
        names: the model's own names of its tensors, by their names inside the tower; "" for a
            parameter that stands beside modules, and so is a tower by itself.
        shapes: by the names inside.
    """

    path: str
    names: Mapping[str, str]
    shapes: Mapping[str, Shape]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Rows:
    """Neighbouring rows of one tensor, or all of it.

    Attributes:
        name: the owner's own name of the tensor.
        start: its first row.
        end: the row behind its last one; None for the whole tensor.
    """

    name: str
    start: int = 0
    end: int | None = None


Fit = Mapping[str, tuple[Rows, ...]]
"""What fills a tower: for each of the target's own names, rows of the owner's that follow each
other."""


class TowerMisfitError(Exception):
    """Why a tower cannot be filled, in words."""


def find_towers(model: nn.Module, decoder: Decoder) -> tuple[Tower, ...]:
    """Every tower of a model, in the order of its tensors.

    Buffers that a checkpoint stores count like parameters if they hold floating point numbers.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    language = {id(parameters[name]) for name in decoder.shapes}  # by all names of tied ones
    mixed = {
        path for name, p in parameters.items() if id(p) in language for path in _beginnings(name)
    }
    found: dict[str, dict[str, str]] = {}
    state = {name: t for name, t in model.state_dict().items() if t.is_floating_point()}
    for name in state:
        if name not in mixed:
            path = next(path for path in _beginnings(name) if path not in mixed)
            found.setdefault(path, {})[name[len(path) + 1 :]] = name
    return tuple(
        Tower(path, names, {key: tuple(state[name].shape) for key, name in names.items()})
        for path, names in found.items()
    )


def pick(towers: Sequence[Tower], key: str) -> Tower | None:
    """The tower that a recipe calls `key`: its path, or the end of it; None if it is not one."""
    found = [t for t in towers if t.path == key or t.path.endswith(f".{key}")]
    exact = [tower for tower in found if tower.path == key]
    chosen = exact or found
    return chosen[0] if len(chosen) == 1 else None


def fit(tower: Tower, towers: Sequence[Tower]) -> tuple[Tower, Fit]:
    """The one of `towers` that gives every tensor of `tower`, and how.

    Tensors pair by their names inside the towers and by shapes. Where one tower holds as one
    tensor what the other holds as several, it is cut by rows: `attn.qkv.weight` holds
    `attn.q.weight`, `attn.k.weight` and `attn.v.weight` one below the other. Among several towers
    that fit, the one of the same name is taken.

    Args:
        tower: what is to be filled.
        towers: those of the owner.

    Raises:
        TowerMisfitError: none fits, or several do; tensors and shapes are named.
    """
    if not towers:
        raise TowerMisfitError("has no tower at all")
    fits = [(own, found) for own in towers if (found := _fit(tower, own)) is not None]
    if len(fits) > 1:
        fits = [(own, found) for own, found in fits if own.name == tower.name] or fits
    if len(fits) == 1:
        return fits[0]
    if fits:
        named = ", ".join(own.path for own, _ in fits)
        raise TowerMisfitError(f"has several that fit, and none of that name: {named}")
    closest = max(towers, key=lambda own: _likeness(tower, own))
    if _likeness(tower, closest) < (False, max(1, len(tower.shapes) // 2)):
        raise TowerMisfitError(f"has only {'; '.join(map(described, towers))}")
    differ = differing(closest.path, closest.shapes, tower.shapes)
    raise TowerMisfitError(f"has none that fits; its closest, {closest.path}: {differ}")


def described(tower: Tower) -> str:
    """Its path, and the first of its tensors with their shapes."""
    listed = [f"{key or tower.name} {shape}" for key, shape in tower.shapes.items()]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return f"{tower.path}: {', '.join(listed[:_LISTED])}{more}"


def _beginnings(name: str) -> list[str]:
    """The modules that a parameter lies in, outermost first, and the parameter itself."""
    return list(accumulate(name.split("."), "{}.{}".format))


def _likeness(tower: Tower, other: Tower) -> tuple[bool, int]:
    """How likely somebody takes one for the other: by name, then by tensors that both have."""
    return other.name == tower.name, len(tower.shapes.items() & other.shapes.items())


def _fit(tower: Tower, own: Tower) -> Fit | None:
    """How `own` fills `tower`, without anything left over on either side."""
    both = tower.shapes.items() & own.shapes.items()
    found: dict[str, tuple[Rows, ...]] = {key: (Rows(own.names[key]),) for key, _ in both}
    lacking = {k: s for k, s in tower.shapes.items() if k not in found}
    left = {k: s for k, s in own.shapes.items() if k not in found}
    for whole, parts in _stacks(left, lacking):  # the owner's one tensor is several here
        start = 0
        for part in parts:
            end = start + lacking[part][0]
            found[part] = (Rows(own.names[whole], start, end),)
            start = end
        left.pop(whole)
    for whole, parts in _stacks(lacking, left):  # the owner's several tensors are one here
        found[whole] = tuple(Rows(own.names[part]) for part in parts)
        for part in parts:
            left.pop(part)
    if left or len(found) < len(tower.shapes):
        return None
    return {tower.names[key]: found[key] for key in tower.shapes}


def _stacks(
    wholes: Mapping[str, Shape], parts: Mapping[str, Shape]
) -> Iterator[tuple[str, list[str]]]:
    """Tensors whose name and rows are those of several others, one after the other.

    "attn.qkv.weight" (48, 16) is "attn.q.weight", "attn.k.weight", "attn.v.weight" of (16, 16).
    """
    for whole, shape in list(wholes.items()):
        steps = whole.split(".")
        for i, step in enumerate(steps):
            others = {
                key.split(".")[i]: key
                for key in parts
                if (own := key.split("."))[:i] == steps[:i] and own[i + 1 :] == steps[i + 1 :]
            }
            named = sorted((s for s in others if s and s in step), key=step.index)
            chosen = [others[s] for s in named]
            shapes = [parts[key] for key in chosen]
            if (
                len(chosen) > 1
                and "".join(named) == step
                and sum(s[0] for s in shapes) == shape[0]
                and all(s[1:] == shape[1:] for s in shapes)
            ):
                yield whole, chosen
