"""Drawing splits from one source: by category, and whole groups of the same examples."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from objectives.data import Example
from objectives.quotas import stratified
from objectives.records import Split
from objectives.twins import Marks


@dataclass(frozen=True, slots=True)
class Item:
    """One example on its way to a split.

    Attributes:
        objective: whose it is.
        split: where it stands by a source of its own; "" where it is to be drawn.
        example: itself.
        marks: by what it is known again.
        group: the number of those that are the same.
    """

    objective: str
    split: str
    example: Example
    marks: Marks
    group: int


def draw(
    free: Sequence[Item], sizes: Mapping[Split, int], owners: dict[int, str], seed: int
) -> list[tuple[Split, Item]]:
    """Draw the splits of one objective.

    The order of drawing is that of digests of the seed and the ids, so that more data hardly moves
    what was drawn. A group that is too large for its split loses the rest of its examples.

    Args:
        free: what is drawn from.
        sizes: of the splits.
        owners: the split that each group is in; what is drawn is added.
        seed: another one gives another order.
    """
    found: list[tuple[Split, Item]] = []

    def place(item: Item, room: dict[Split, int]) -> bool:
        """Put the item into its group's split, or else the first with room."""
        owner = owners.get(item.group)
        for split in sizes:
            if room[split] > 0 and owner in (None, split):
                owners[item.group] = split
                found.append((split, item))
                room[split] -= 1
                return True
        return False

    strata: dict[str, list[Item]] = {}
    for item in _shuffled(free, seed):
        strata.setdefault(item.example.category, []).append(item)
    counts = {category: len(members) for category, members in sorted(strata.items())}
    quotas = stratified(sizes, counts)
    left: list[Item] = []
    for category in counts:
        room = dict(quotas[category])
        left += [item for item in strata[category] if not place(item, room)]
    room = {split: size - sum(s == split for s, _ in found) for split, size in sizes.items()}
    for item in left:  # what large groups left short is filled up from other categories
        place(item, room)
    return found


def _shuffled(free: Sequence[Item], seed: int) -> list[Item]:
    """All of a group together, by the least name in it."""
    first: dict[int, tuple[str, str]] = {}
    for item in free:
        first[item.group] = min(first.get(item.group, item.marks.name), item.marks.name)

    def key(item: Item) -> tuple[bytes, str]:
        text = "\0".join([str(seed), *first[item.group]])
        return hashlib.sha256(text.encode()).digest(), item.example.id

    return sorted(free, key=key)
