"""How many examples each split gets, in all and of each category."""

from collections.abc import Mapping
from typing import Literal

from objectives.errors import ObjectiveError
from objectives.records import SPLITS, Split

Size = int | float | Literal["rest"]
"""How many examples a split gets: so many, a share of all (below 1), or what the others leave."""


def split_sizes(name: str, sizes: Mapping[Split, Size], total: int) -> dict[Split, int]:
    """How many examples each split gets of `total`.

    Args:
        name: the objective's, for messages.
        sizes: at most one of them "rest".
        total: how many there are.

    Raises:
        ObjectiveError: there are not as many, or a split would get none.
    """
    given = {
        split: round(size * total) if isinstance(size, float) else size
        for split, size in sizes.items()
        if size != "rest"
    }
    counts = {split: int(size) for split, size in given.items()}
    rest = total - sum(counts.values())
    found = {split: counts.get(split, rest) for split in SPLITS if split in sizes}
    if sum(found.values()) > total or any(size <= 0 for size in found.values()):
        wanted = ", ".join(f"{split} {size}" for split, size in sizes.items())
        raise ObjectiveError(
            f"{name}: the splits ({wanted}) must be drawn from {total} examples and none may be "
            "empty; give smaller sizes or more data."
        )
    return found


def stratified(
    sizes: Mapping[Split, int], counts: Mapping[str, int]
) -> dict[str, dict[Split, int]]:
    """How many of each category go to each split: equal shares, by largest remainders.

    Args:
        sizes: of the splits, in all at most as many as there are.
        counts: how many there are of each category.
    """
    left = dict(counts)
    total = sum(counts.values())
    quotas: dict[str, dict[Split, int]] = {category: {} for category in counts}
    for split, size in sizes.items():
        shares = {category: size * count / total for category, count in counts.items()}
        given = {category: min(int(share), left[category]) for category, share in shares.items()}
        order = sorted(counts, key=lambda c: (given[c] - shares[c], c))
        while short := size - sum(given.values()):
            for category in [c for c in order if given[c] < left[c]][:short]:
                given[category] += 1
        for category, number in given.items():
            quotas[category][split] = number
            left[category] -= number
    return quotas
