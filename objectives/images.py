"""Pictures kept as they were stored and decoded when they are shown; their fingerprints."""

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

HASHES = {
    "pixels": "sha256 of size and RGB pixels",
    "shape": "64-bit DCT hash of 32 x 32 grey",
    "thumb": "16 x 16 RGB",
}
"""What the fingerprints are, for the record; a change of either makes other splits."""

_SIDE, _LOW = 32, 8  # of the grey picture, and of its lowest frequencies
_THUMB = (16, 16)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells a picture from others.

    Attributes:
        pixels: sha256 of its decoded pixels, in hex.
        shape: 64 bits that hardly change when it is scaled or encoded anew.
        thumb: the picture in little, RGB: tells apart what only looks alike from afar.
        blank: one colour all over, so that it tells nothing apart.
    """

    pixels: str
    shape: int
    thumb: bytes = field(repr=False)
    blank: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as it was stored.

    Attributes:
        stored: the bytes of its file, its path, or the picture itself where it came decoded.
        fingerprint: of its pixels.
    """

    stored: "bytes | Path | Image" = field(repr=False)
    fingerprint: Fingerprint

    def decoded(self) -> "Image":
        """The picture, RGB; nothing keeps it."""
        return decode(self.stored)


class Pictures(Sequence["Image"]):
    """Pictures that are decoded, RGB, each time they are asked for, so that none is held."""

    def __init__(self, stored: Sequence[Picture]) -> None:
        self.stored = tuple(stored)

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, index: int) -> "Image": ...
    @overload
    def __getitem__(self, index: slice) -> "Pictures": ...
    def __getitem__(self, index: int | slice) -> "Image | Pictures":
        """One picture decoded, or some of them as they are."""
        if isinstance(index, slice):
            return Pictures(self.stored[index])
        return self.stored[index].decoded()

    def __iter__(self) -> Iterator["Image"]:
        return (picture.decoded() for picture in self.stored)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Pictures, tuple)):
            return NotImplemented
        return fingerprints(self) == fingerprints(other)

    def __hash__(self) -> int:
        return hash(fingerprints(self))

    def __repr__(self) -> str:
        return f"Pictures({len(self)})"


def fingerprints(images: Sequence[Any]) -> tuple[Fingerprint, ...]:
    """One for each picture; those of `Pictures` were taken when they were read."""
    if isinstance(images, Pictures):
        return tuple(picture.fingerprint for picture in images.stored)
    return tuple(fingerprint(image) for image in images)


def read_picture(stored: "bytes | Path | Image") -> Picture:
    """Decode a picture once, to know that it can be, and take its fingerprint.

    Raises:
        OSError: there is no such file, or it is damaged.
        Exception: whatever else a decoder says of a damaged file.
    """
    return Picture(stored, fingerprint(decode(stored)))


def decode(stored: "bytes | Path | Image") -> "Image":
    """The picture upright and in RGB, loaded whole."""
    from PIL import Image, ImageOps

    if isinstance(stored, Image.Image):
        return stored.convert("RGB")
    with Image.open(io.BytesIO(stored) if isinstance(stored, bytes) else stored) as picture:
        upright = ImageOps.exif_transpose(picture)
        return upright.convert("RGB")


def fingerprint(image: "Image") -> Fingerprint:
    """The fingerprint of a decoded RGB picture."""
    digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
    extrema: Any = image.getextrema()
    blank = all(low == high for low, high in extrema)
    thumb = image.resize(_THUMB, _box(), reducing_gap=2).tobytes()
    return Fingerprint(digest, _shape(image), thumb, blank)


def _box() -> Any:
    from PIL.Image import Resampling

    return Resampling.BOX


def _shape(image: "Image") -> int:
    """Signs of the lowest frequencies against their median (Zauner 2010, the DCT hash)."""
    import numpy as np

    small = image.convert("L").resize((_SIDE, _SIDE), _box(), reducing_gap=2)
    waves = _waves()
    low = waves @ np.asarray(small, dtype=np.float64) @ waves.T  # (8, 8)
    bits = low.ravel() > np.median(low.ravel()[1:])  # the mean brightness decides nothing
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _waves() -> "np.ndarray[Any, Any]":
    """The lowest cosines over the thumbnail's side: (8, 32)."""
    import numpy as np

    place, wave = np.arange(_SIDE), np.arange(_LOW)[:, None]
    found: np.ndarray[Any, Any] = np.cos(math.pi * (2 * place + 1) * wave / (2 * _SIDE))
    return found
