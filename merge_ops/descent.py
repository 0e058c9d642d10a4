"""Adam and SGD on the quadratic objective of WUDI, whose gradient is 2 (tau C - D)."""

import torch
from torch import Tensor


def adam_entries(rows: int, columns: int) -> int:
    """float32 entries that `adam` holds at most: its C, and seven of the shape of `start`."""
    return 7 * rows * columns + columns * columns


def adam(start: Tensor, c: Tensor, d: Tensor, *, steps: int, lr: float) -> Tensor:
    """Run Adam from `start`, in float32.

    Args:
        start: (m, n).
        c: C, (n, n).
        d: D, (m, n).
        steps: how many.
        lr: step size.

    Source: Kingma and Ba, arXiv:1412.6980, algorithm 1, with its defaults.
    """
    first, second, eps = 0.9, 0.999, 1e-8
    x, c, d = start.to(torch.float32, copy=True), 2 * c.float(), 2 * d.float()
    m, v = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(1, steps + 1):
        gradient = torch.addmm(d, x, c, beta=-1)
        m.lerp_(gradient, 1 - first)
        v.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (v / (1 - second**step)).sqrt_().add_(eps)
        x.addcdiv_(m, size, value=-lr / (1 - first**step))
    return x


def sgd(start: Tensor, c: Tensor, d: Tensor, *, steps: int, lr: float, momentum: float) -> Tensor:
    """Run gradient descent with heavy-ball momentum from `start`, in float32; see `adam`."""
    x, c, d = start.to(torch.float32, copy=True), 2 * c.float(), 2 * d.float()
    speed = torch.zeros_like(x)
    for _ in range(steps):
        speed.mul_(momentum).add_(torch.addmm(d, x, c, beta=-1))
        x.sub_(speed, alpha=lr)
    return x
