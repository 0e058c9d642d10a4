"""Where everything will lie, in bytes, decided before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from merge_ops.errors import TooLittleMemoryError

Place = Literal["device", "pinned", "mapped"]
GIB = 1 << 30

_WORDS: dict[Place, str] = {
    "device": "on the device",
    "pinned": "in pinned host memory, streamed",
    "mapped": "mapped from its files",
}
_COMPUTED = "computed from its files, tensor by tensor"


@dataclass(frozen=True, slots=True)
class Item:
    """Something that takes memory.

    Attributes:
        what: in words.
        size: bytes.
        movable: it may lie elsewhere than on the device.
        mappable: it may stay in its files; a checkpoint that is read whole may not.
        fewer: what the user can ask less of, to make it smaller.
        computed: its files do not hold it as it is: a model with an adapter.
    """

    what: str
    size: int
    movable: bool = False
    mappable: bool = True
    fewer: str = ""
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Every item with its place.

    Attributes:
        device: in words.
        free: bytes that may be used there.
        items: in the order in which they were placed.
        places: one per item.
    """

    device: str
    free: int
    items: tuple[Item, ...]
    places: tuple[Place, ...]

    def total(self, place: Place) -> int:
        """Bytes that lie in one place."""
        pairs = zip(self.items, self.places, strict=True)
        return sum(item.size for item, where in pairs if where == place)

    def text(self) -> str:
        """The plan as lines: what, how much, where."""
        rows = [
            f"  {item.what:<34} {readable(item.size):>10}  {_words(item, place)}"
            for item, place in zip(self.items, self.places, strict=True)
        ]
        total = f"{readable(self.total('device'))} of {readable(self.free)} free"
        return "\n".join([f"memory on {self.device}: {total}", *rows])

    def record(self) -> dict[str, Any]:
        """The plan as plain data."""
        pairs = zip(self.items, self.places, strict=True)
        items = [{"what": i.what, "bytes": i.size, "place": place} for i, place in pairs]
        return {"device": self.device, "free": self.free, "items": items}


def _words(item: Item, place: Place) -> str:
    return _COMPUTED if item.computed and place == "mapped" else _WORDS[place]


def plan_memory(items: Sequence[Item], device: str, free: int, pinnable: int) -> Plan:
    """Place items: what must be on the device first, then the movable ones while they fit.

    Args:
        items: what there is.
        device: in words, for the text.
        free: bytes that may be used on the device.
        pinnable: bytes of host memory that may be pinned for an accelerator; 0 on the CPU.

    Raises:
        TooLittleMemoryError: what must be on the device, or cannot stay in files, does not fit;
            the numbers are given.
    """
    fixed = sum(item.size for item in items if not item.movable)
    if fixed > free:
        less = "".join(f"{item.fewer}, " for item in items if item.fewer)
        listed = ", ".join(f"{i.what} {readable(i.size)}" for i in items if not i.movable)
        raise TooLittleMemoryError(
            f"{device} must hold {readable(fixed)} ({listed}), but has {readable(free)} free; use "
            f"{less}a smaller dtype, a larger device, or free memory on this one."
        )
    left, host = free - fixed, pinnable
    places: list[Place] = []
    for item in items:
        if not item.movable:
            places.append("device")
        elif item.size <= left:
            places.append("device")
            left -= item.size
        elif item.size <= host:
            places.append("pinned")
            host -= item.size
        elif not item.mappable:
            raise TooLittleMemoryError(
                f"{item.what} takes {readable(item.size)} and cannot stay in its files, for each "
                f"of its fused experts stands there as several tensors; {device} has "
                f"{readable(left)} left. Use a smaller dtype, a larger device, or free memory on "
                "this one."
            )
        else:
            places.append("mapped")
    return Plan(device, free, tuple(items), tuple(places))


def readable(size: int) -> str:
    """Bytes in the unit that keeps them short: 1,536 is "1.5 KiB"."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
