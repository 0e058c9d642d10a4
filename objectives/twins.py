"""Examples that are the same, or nearly so, under other names."""

import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from objectives.data import Example
from objectives.images import Fingerprint, fingerprints

NEAR = 6
"""Bits of 64 in which the shapes of two copies of a picture may differ. Scaled to a quarter or
encoded as JPEG of quality 20 they differ in up to 6, unrelated ones in about 32."""

CLOSE = 32
"""How far, of 255, any value of their thumbnails may differ: copies differ by up to 10. Scenes of
one layout with other things in it are within `NEAR`, but differ by 144 or more."""

RULES = {
    "id": "the same id in the same data set",
    "image": "the same pixels; a picture of one colour counts for nothing",
    "near image": f"the same question, shapes within {NEAR} of 64 bits, thumbnails within {CLOSE} "
    "of 255",
    "question": "the same question and options, where no picture is shown",
    "group": "tied to it through another example",
}
"""How an example is known again; the question's case and spaces do not count."""


@dataclass(frozen=True, slots=True)
class Marks:
    """By what one example is known again.

    Attributes:
        name: its id, with the data set that it is unique in.
        pixels: digests of its pictures.
        shapes: of its pictures, in order.
        thumbs: of its pictures, in order.
        asked: its question and options, normalised.
    """

    name: tuple[str, str]
    pixels: frozenset[str]
    shapes: tuple[int, ...]
    thumbs: tuple[bytes, ...] = field(repr=False)
    asked: str = field(repr=False)

    def signs(self) -> Iterator[Hashable]:
        """What no two splits may share, exactly."""
        yield ("id", self.name)
        yield from (("image", digest) for digest in sorted(self.pixels))
        if not self.shapes:
            yield ("question", self.asked)


def marks(example: Example, within: str) -> Marks:
    """The marks of an example.

    Args:
        example: any.
        within: the data set that its id is unique in.
    """
    shown: list[Fingerprint] = [f for f in fingerprints(example.images) if not f.blank]
    return Marks(
        (within, example.id),
        frozenset(f.pixels for f in shown),
        tuple(f.shape for f in shown),
        tuple(f.thumb for f in shown),
        "\n".join(map(_plain, (example.question, *example.lists.get("options", ())))),
    )


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def why(one: Marks, other: Marks) -> str | None:
    """The rule of `RULES` by which two are the same, or None."""
    if one.name == other.name:
        return "id"
    if one.pixels & other.pixels:
        return "image"
    if one.asked != other.asked or len(one.shapes) != len(other.shapes):
        return None
    if not one.shapes:
        return "question"
    apart = max((a ^ b).bit_count() for a, b in zip(one.shapes, other.shapes, strict=True))
    return "near image" if apart <= NEAR and _close(one, other) else None


def _close(one: Marks, other: Marks) -> bool:
    """Whether no value of the thumbnails differs by much."""
    pairs = zip(b"".join(one.thumbs), b"".join(other.thumbs), strict=True)
    return all(abs(a - b) <= CLOSE for a, b in pairs)


def groups(found: Sequence[Marks]) -> list[int]:
    """For each, the number of its group: all that are the same, directly or through others."""
    parents = list(range(len(found)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    first: dict[Hashable, int] = {}
    for i, mark in enumerate(found):
        for key in mark.signs():
            parents[root(i)] = root(first.setdefault(key, i))
    for i, j in _near(found):
        parents[root(i)] = root(j)
    return [root(i) for i in range(len(found))]


def _near(found: Sequence[Marks]) -> Iterator[tuple[int, int]]:
    """Pairs with the same question whose pictures are nearly the same."""
    import numpy as np

    alike: dict[Hashable, list[int]] = {}
    for i, mark in enumerate(found):
        if mark.shapes:
            alike.setdefault((mark.asked, len(mark.shapes)), []).append(i)
    for members in alike.values():
        shapes = np.array([found[i].shapes for i in members], dtype=np.uint64)  # (n, pictures)
        for place in range(1, len(members)):
            apart = np.bitwise_count(shapes[:place] ^ shapes[place]).max(axis=1)  # (place,)
            for other in np.flatnonzero(apart <= NEAR):
                pair = members[place], members[int(other)]
                if _close(found[pair[0]], found[pair[1]]):
                    yield pair
