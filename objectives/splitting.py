"""Selection, confirm and test without a common example, over all objectives of a study."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from objectives.data import Example
from objectives.drawing import Item, draw
from objectives.errors import ObjectiveError
from objectives.quotas import Size, split_sizes
from objectives.records import SPLITS, Split
from objectives.twins import groups, marks, why

_KEEPS: tuple[Split, ...] = ("test", "confirm", "selection")
"""Who keeps an example that several splits hold: figures on `test` are compared with others'."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The examples of one objective.

    Attributes:
        objective: its name.
        fixed: splits that have a source of their own.
        free: what the other splits are drawn from.
        sizes: of those.
        within: the data set that ids are unique in, by split; that of `free` under "".
        seed: of the drawing.
    """

    objective: str
    fixed: Mapping[Split, Sequence[Example]] = field(default_factory=dict)
    free: Sequence[Example] = ()
    sizes: Mapping[Split, Size] = field(default_factory=dict)
    within: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """An example that was left out because another split keeps it, or one like it.

    Attributes:
        objective: whose it was.
        split: where it stood; "" where it was to be drawn.
        id: its id.
        rule: of `objectives.twins.RULES`.
        twin: which example it is like: objective, split, id.
    """

    objective: str
    split: str
    id: str
    rule: str
    twin: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Division:
    """What came of dividing.

    Attributes:
        splits: by objective and split, in the order of the data.
        dropped: in the order of the data.
    """

    splits: Mapping[str, Mapping[Split, tuple[Example, ...]]]
    dropped: tuple[Dropped, ...]

    def notes(self) -> list[str]:
        """A line for each objective, split and rule that examples were left out for."""
        counts = Counter(
            (d.objective, d.split or "the examples to draw from", *d.twin[:2], d.rule)
            for d in self.dropped
        )
        return [
            f"{name}: left out {count} of {split}: {twin} of {other} holds the same (by {rule})"
            for (name, split, other, twin, rule), count in counts.items()
        ]


def divide(pools: Sequence[Pool]) -> Division:
    """Give every example at most one split, and all that are the same the same one.

    A split with a source of its own keeps its examples, unless one before it in (test, confirm,
    selection) holds the same. The others are drawn, each category in equal shares.

    Args:
        pools: one for each objective.

    Raises:
        ObjectiveError: a split is left without an example, or the sizes ask for too many.
    """
    items = list(_items(pools))
    owners: dict[int, str] = {}
    for split in _KEEPS:
        owners |= {i.group: split for i in items if i.split == split and i.group not in owners}
    taken = [(item.split, item) for item in items if item.split == owners.get(item.group)]
    for pool in pools:
        if pool.sizes:
            free = [
                item
                for item in items
                if item.objective == pool.objective
                and not item.split
                and owners.get(item.group) in (None, *pool.sizes)
            ]
            sizes = split_sizes(pool.objective, pool.sizes, len(free))
            taken += draw(free, sizes, owners, pool.seed)
    dropped = tuple(_dropped(items, taken, {pool.objective: pool for pool in pools}))
    splits = {pool.objective: _ordered(pool, taken, dropped) for pool in pools}
    return Division(splits, dropped)


def _items(pools: Sequence[Pool]) -> Iterator[Item]:
    """Every example with its marks and its group."""
    named = [
        (pool.objective, split, example, marks(example, pool.within.get(split, pool.objective)))
        for pool in pools
        for split, examples in [*pool.fixed.items(), ("", pool.free)]
        for example in examples
    ]
    numbers = groups([found for *_, found in named])
    for (objective, split, example, found), group in zip(named, numbers, strict=True):
        yield Item(objective, split, example, found, group)


def _dropped(
    items: Sequence[Item], taken: Sequence[tuple[str, Item]], pools: Mapping[str, Pool]
) -> Iterator[Dropped]:
    """Every item whose group is in a split that it cannot be in, with the one it is like."""
    keepers: dict[int, list[tuple[str, Item]]] = {}
    for split, item in taken:
        keepers.setdefault(item.group, []).append((split, item))
    for item in items:
        kept = keepers.get(item.group, [])
        possible = [item.split] if item.split else list(pools[item.objective].sizes)
        if not kept or kept[0][0] in possible:
            continue
        rules = [(why(item.marks, keeper.marks), split, keeper) for split, keeper in kept]
        rule, split, twin = next((found for found in rules if found[0]), (None, *kept[0]))
        yield Dropped(
            item.objective,
            item.split,
            item.example.id,
            rule or "group",
            (twin.objective, split, twin.example.id),
        )


def _ordered(
    pool: Pool, taken: Sequence[tuple[str, Item]], dropped: Sequence[Dropped]
) -> dict[Split, tuple[Example, ...]]:
    """The splits of one objective in the order of the data."""
    found: dict[Split, tuple[Example, ...]] = {}
    for split in SPLITS:
        ids = {i.example.id for s, i in taken if s == split and i.objective == pool.objective}
        source = pool.fixed.get(split, pool.free)
        found[split] = tuple(example for example in source if example.id in ids)
        if not ids:
            lost = sum(d.objective == pool.objective for d in dropped)
            raise ObjectiveError(
                f"{pool.objective}: the splits must not share examples, but {split} has none left "
                f"of its own: {lost} of this objective's stand in another split. Give other data."
            )
    return found
