"""Random numbers addressed by (seed, parameter name, expert, element): the same everywhere.

A counter-based generator: the number of an element depends on nothing but its address, so a mask
is the same on every device, in any chunking and with any number of threads, and masks are nested
as the density grows (`u < density`).
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

# Multipliers of the 64-bit finalizer "variant 13" by D. Stafford, as used in SplitMix64
# (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
_M1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_M2 = 0x94D049BB133111EB - (1 << 64)
_BITS = 24  # a float32 holds 24 bits exactly


@dataclass(frozen=True, slots=True)
class Draw:
    """Where the random numbers of one parameter come from.

    Attributes:
        seed: the recipe's seed.
        name: the parameter's canonical name.
    """

    seed: int
    name: str

    def uniform(self, expert: int, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) for every element of `like`, float32, on its device.

        Args:
            expert: index of the expert in the recipe.
            like: gives shape and device; element i of its flat view gets number i.
        """
        key = hashlib.blake2b(f"{self.seed}\0{expert}\0{self.name}".encode(), digest_size=16)
        first, second = (_signed(key.digest()[part : part + 8]) for part in (0, 8))
        index = torch.arange(like.numel(), dtype=torch.int64, device=like.device)
        mixed = _finalize(_finalize(index ^ first) ^ second)
        top = (mixed >> (64 - _BITS)) & ((1 << _BITS) - 1)
        return top.to(torch.float32).mul_(2.0**-_BITS).view(like.shape)


def _signed(digits: bytes) -> int:
    return int.from_bytes(digits, "little", signed=True)


def _finalize(x: Tensor) -> Tensor:
    """Mix 64 bits so that every input bit changes every output bit with probability near 1/2."""
    x = (x ^ _shift(x, 30)) * _M1
    x = (x ^ _shift(x, 27)) * _M2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own keeps the sign)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
