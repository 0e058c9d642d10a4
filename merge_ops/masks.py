"""Random numbers addressed by (seed, parameter name, expert, element): the same everywhere.

A counter-based generator: the number of an element depends on nothing but its address, so a mask
is the same on every device, in any chunking and with any number of threads, and masks are nested
as the density grows (`u < density`).

All arithmetic is on 32-bit integers, which vector units multiply fast. An address is hashed down
to a block of 2^30 elements by blake2b; inside the block the element's index is the counter. Two
rounds of mixing, keyed by the parameter, serve all experts; each expert then has a key and an odd
multiplier of its own (multiply-shift hashing), which makes the experts' numbers independent.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK = 1 << 30
"""Elements that share their keys: counters stay below it."""

# Odd multipliers and shifts of the 32-bit mixers that C. Wellons found by search ("hash
# prospector"): lowbias32.
_ROUNDS = ((16, 0x7FEB352D), (15, 0x846CA68B - (1 << 32)))
_BITS = 24  # a float32 holds 24 bits exactly
_HALF = 1 << (_BITS - 1)


@dataclass(frozen=True, slots=True)
class Draw:
    """Where the random numbers of one parameter come from.

    Attributes:
        seed: the recipe's seed.
        name: the parameter's canonical name.
    """

    seed: int
    name: str

    def common(self, block: int = 0) -> int:
        """The signed 32-bit key that all experts share in one block of elements."""
        return self._keys(f"{self.seed}\0{block}\0{self.name}")[0]

    def own(self, expert: int, block: int = 0) -> tuple[int, int]:
        """Key and odd multiplier, signed 32-bit, of one expert (its index in the recipe)."""
        key, factor = self._keys(f"{self.seed}\0{block}\0{expert}\0{self.name}")
        return key, factor | 1

    def uniform(self, expert: int, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) for every element of `like`, float32, on its device.

        Args:
            expert: index of the expert in the recipe.
            like: gives shape and device; element i of its flat view gets number i.
        """
        parts = []
        for block, start in enumerate(range(0, max(1, like.numel()), BLOCK)):
            count = min(BLOCK, like.numel() - start)
            index = torch.arange(count, dtype=torch.int32, device=like.device)
            number = finish(mix(index, self.common(block)), *self.own(expert, block))
            parts.append(((number >> (32 - _BITS)) + _HALF).float().mul_(2.0**-_BITS))
        return torch.cat(parts).view(like.shape)

    @staticmethod
    def _keys(address: str) -> tuple[int, int]:
        digits = hashlib.blake2b(address.encode(), digest_size=8).digest()
        first, second = (
            int.from_bytes(d, "little", signed=True) for d in (digits[:4], digits[4:])
        )
        return first, second


def mix(index: Tensor, common: Tensor | int) -> Tensor:
    """The rounds that all experts share: int32 counters below `BLOCK` to well-mixed int32."""
    x = index ^ common
    for shift, factor in _ROUNDS:
        x = (x ^ _shift(x, shift)) * factor
    return x ^ _shift(x, 16)


def finish(mixed: Tensor, key: Tensor | int, factor: Tensor | int) -> Tensor:
    """One expert's step; as a fraction of 2^32 above -2^31, the result is the number."""
    return (mixed ^ key) * factor


def bound(density: float) -> int:
    """The largest int32 that `finish` may give an entry that is kept: `u < density` in integers.

    The density is rounded to float32 first, as it is where a tensor is compared with it. One of
    0 or less has no such number: it gives the lowest int32, which one entry in 2^32 has; give
    that expert no weight. From a density of 1 on everything is kept.
    """
    steps = min(max(math.ceil(float(np.float32(density)) * (1 << _BITS)), 0), 1 << _BITS)
    return max((steps << (32 - _BITS)) - 1 - (1 << 31), -(1 << 31))


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int32 (torch's own keeps the sign)."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)
