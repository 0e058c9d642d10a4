"""How a searched value varies over depth: in steps at bands of layers, or along a curve."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from merge_ops.errors import UserError
from merge_ops.recipe import Gradient
from merge_ops.resolving import at_depth


@dataclass(frozen=True, slots=True)
class Depth:
    """The places at which a value is searched, and what lies between them.

    Attributes:
        layers: number of text layers.
        edges: first layer of each band, ascending from 0; (0,) is one value for all layers.
        points: if not 0, a value is searched at so many points, evenly spaced from the first
            layer to the last, and interpolated linearly between them; `edges` is then (0,).
    """

    layers: int
    edges: tuple[int, ...] = (0,)
    points: int = 0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.edges))
        if self.edges[:1] != (0,) or not rising or self.edges[-1] >= self.layers:
            raise UserError(
                f"bands begin at ascending layers, from 0 to at most {self.layers - 1}, but "
                f"begin at {list(self.edges)}."
            )
        if self.points and not 2 <= self.points <= self.layers:
            raise UserError(
                f"a curve has 2 to {self.layers} control points (the number of text layers), "
                f"but got {self.points}."
            )

    @property
    def places(self) -> int:
        """How many values a knob has over depth."""
        return self.points or len(self.edges)

    def setting(self, controls: Sequence[float]) -> float | Gradient:
        """What a recipe says for the values at all places: one number, or a gradient."""
        if self.places == 1:
            return controls[0]
        return tuple(controls) if self.points else self.by_layer(controls)

    def by_layer(self, controls: Sequence[float]) -> tuple[float, ...]:
        """The value of every layer."""
        if self.points:
            curve = tuple(controls)
            return tuple(float(at_depth(curve, i, self.layers)) for i in range(self.layers))
        return tuple(controls[self.band(i)] for i in range(self.layers))

    def band(self, layer: int) -> int:
        """The band that a layer lies in."""
        return sum(edge <= layer for edge in self.edges) - 1

    def cuts(self, band: int, barred: Collection[int] = ()) -> list[int]:
        """The layers at which a band can be cut, those next to its middle first.

        Args:
            band: index of the band.
            barred: layers at which it may not be cut.
        """
        if self.points:
            return []
        first, end = self.edges[band], (*self.edges[1:], self.layers)[band]
        middle = first + (end - first + 1) // 2
        found = [layer for layer in range(first + 1, end) if layer not in barred]
        return sorted(found, key=lambda layer: (abs(layer - middle), layer))

    def split(self, band: int, barred: Collection[int] = ()) -> "Depth":
        """The same bands, but one cut in two halves; of an odd number the first is the larger.

        Raises:
            ValueError: the band is a single layer or barred everywhere, or these are no bands.
        """
        cuts = self.cuts(band, barred)
        if not cuts:
            raise ValueError(f"a band of two layers or more can be split, but {self}, {band}.")
        return Depth(self.layers, tuple(sorted((*self.edges, cuts[0]))))


def even_bands(layers: int, count: int) -> Depth:
    """Bands of about equal size.

    Raises:
        UserError: more bands than layers, or none.
    """
    if not 1 <= count <= layers:
        raise UserError(
            f"bands must lie between 1 and the number of text layers, {layers}, but is {count}."
        )
    return Depth(layers, tuple(-(-band * layers // count) for band in range(count)))
