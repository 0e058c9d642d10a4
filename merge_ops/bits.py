"""Boolean masks as bits, eight entries a byte."""

import numpy as np
import torch
from torch import Tensor


def pack(mask: Tensor) -> Tensor:
    """A boolean mask as bits: entry k, row by row, is bit k % 8 (1 << k % 8) of byte k // 8.

    Args:
        mask: boolean, any shape, n entries.

    Returns:
        uint8, (ceil(n / 8),), on the CPU; bits beyond the last entry are 0.
    """
    flat = mask.detach().cpu().flatten().numpy()
    return torch.from_numpy(np.packbits(flat, bitorder="little"))


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """The boolean mask of that shape, from what `pack` gave."""
    flat = np.unpackbits(bits.numpy(), bitorder="little", count=shape.numel())
    return torch.from_numpy(flat.astype(np.bool_)).view(shape)
