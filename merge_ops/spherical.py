"""Geometry of directions that the spherical merge methods share."""

from functools import lru_cache

import torch
from torch import Tensor


def units(x: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
    """Unit vectors along `dim` and their norms (that dimension kept); a zero vector stays zero."""
    norm = x.norm(dim=dim, keepdim=True)
    return x / torch.where(norm > 0, norm, 1.0), norm


def cosine(a: Tensor, b: Tensor, dim: int = -1) -> Tensor:
    """Dot product along `dim`, which is kept, of unit vectors, within [-1, 1]."""
    return (a * b).sum(dim, keepdim=True).clamp(-1.0, 1.0)


def arc(a: Tensor, b: Tensor, t: float, straight: float, dim: int = -1) -> Tensor:
    """[sin((1-t) Omega) a + sin(t Omega) b] / sin Omega, Omega the angle between a and b.

    Args:
        a: the end at t = 0, not necessarily of norm 1.
        b: the end at t = 1, of the same shape.
        t: place on the arc.
        straight: where |cos Omega| exceeds it, a straight line takes the arc's place.
        dim: vectors lie along it. A zero vector is taken as orthogonal to all.

    Source: Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985.
    """
    first, second = arc_weights(angle_cosine(a, b, dim), t, straight)
    return first * a + second * b


def angle_cosine(a: Tensor, b: Tensor, dim: int = -1) -> Tensor:
    """Cosine of the angle between vectors along `dim`, which is kept."""
    return cosine(units(a, dim)[0], units(b, dim)[0], dim)


def arc_weights(cos: Tensor, t: float, straight: float) -> tuple[Tensor, Tensor]:
    """What multiplies a and b in `arc`, for the cosine of their angle."""
    angle, sine, line = _bend(cos, straight)
    first = torch.where(line, 1 - t, torch.sin((1 - t) * angle) / sine)
    second = torch.where(line, t, torch.sin(t * angle) / sine)
    return first, second


def arc_numbers(cosine: float, t: float, straight: float) -> list[float]:
    """`arc_weights` of one angle as numbers, bit for bit; what does not depend on t is kept."""
    angle, sine, line = _known_bend(cosine, straight)
    places = torch.tensor([1 - t, t])
    numbers: list[float] = (places if line else torch.sin(places * angle) / sine).tolist()
    return numbers


def _bend(cos: Tensor, straight: float) -> tuple[Tensor, Tensor, Tensor]:
    """The angle, its sine (1 on a straight line), and where the line is taken for straight."""
    angle = torch.arccos(cos)
    line = cos.abs() > straight
    return angle, torch.where(line, 1.0, torch.sin(angle)), line


@lru_cache(maxsize=1 << 14)
def _known_bend(cosine: float, straight: float) -> tuple[Tensor, Tensor, bool]:
    angle, sine, line = _bend(torch.tensor([cosine]), straight)
    return angle, sine, bool(line)


def log_map(at: Tensor, to: Tensor) -> Tensor:
    """The tangent at the unit vector `at` that leads along the sphere to the unit vector `to`.

    Towards its own place, and towards the opposite one, where the way is not defined, it is 0.
    """
    cos = cosine(at, to)
    sine = (1 - cos.square()).sqrt()
    ratio = torch.where(sine > _SMALL, torch.arccos(cos) / sine, (cos > 0).to(cos.dtype))
    return (to - cos * at) * ratio


def exp_map(at: Tensor, tangent: Tensor) -> Tensor:
    """The unit vector at the end of `tangent`, a tangent at the unit vector `at`."""
    length = tangent.norm(dim=-1, keepdim=True)
    ratio = torch.where(length > 0, torch.sin(length) / length, 1.0)
    return torch.cos(length) * at + ratio * tangent


_SMALL = 1e-6  # sines below it cannot be told from 0 in float32
