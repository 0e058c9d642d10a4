"""The counter-based random numbers: uniform, independent, nested, and the same everywhere."""

import hashlib
import math
from itertools import pairwise

import pytest
import torch

from merge_ops.masks import Draw, bound, finish, mix

PINNED = [4982198, 4015168, 7044598, 16725751, 12524499]
N = 1 << 16
LIKE = torch.empty(N)


def numbers(seed: int = 0, name: str = "w", expert: int = 0) -> torch.Tensor:
    return Draw(seed, name).uniform(expert, LIKE)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1])


def test_numbers_are_pinned() -> None:
    """A change of these changes every random merge; made by the pure Python version below."""
    got = Draw(7, "model.layers.0.mlp.up_proj.weight").uniform(1, torch.empty(5))
    assert [int(x * 2**24) for x in got.tolist()] == PINNED


def test_a_second_implementation_gives_the_same() -> None:
    def keys(address: bytes) -> tuple[int, int]:
        digits = hashlib.blake2b(address, digest_size=8).digest()
        return int.from_bytes(digits[:4], "little"), int.from_bytes(digits[4:], "little")

    def number(index: int) -> float:
        x = index ^ keys(b"12\x000\x00name")[0]
        x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
        x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
        x ^= x >> 16
        key, factor = keys(b"12\x000\x003\x00name")
        x = ((x ^ key) * (factor | 1)) & 0xFFFFFFFF
        return ((x ^ 0x80000000) >> 8) / 2**24

    want = [number(i) for i in range(300)]
    assert Draw(12, "name").uniform(3, torch.empty(300)).tolist() == want


def test_experts_are_jointly_uniform() -> None:
    """Pairs of experts over a 16 x 16 grid, for 40 seeds: as a chi-squared law would have them."""
    excess = []
    for seed in range(40):
        first, second = (numbers(seed, expert=e).mul(16).long() for e in (0, 1))
        counts = torch.bincount(first * 16 + second, minlength=256)
        chi_squared = float(((counts - N / 256).square() / (N / 256)).sum())
        excess.append((chi_squared - 255) / math.sqrt(2 * 255))
    assert abs(sum(excess) / len(excess)) < 0.6  # 40 standard normals: within about 4 deviations
    assert max(excess) < 4.5


@pytest.mark.parametrize("density", [0.0, 1e-8, 0.05, 0.3, 0.5, 1 - 1e-8, 1.0, 1.5])
def test_the_integer_bound_keeps_what_the_density_keeps(density: float) -> None:
    draw = Draw(5, "w")
    index = torch.arange(N, dtype=torch.int32)
    kept = finish(mix(index, draw.common()), *draw.own(2)) <= bound(density)
    assert torch.equal(kept, numbers(5, expert=2) < density)


def test_numbers_are_uniform() -> None:
    u = numbers()
    assert u.dtype == torch.float32
    assert u.min() >= 0
    assert u.max() < 1
    counts = torch.histc(u, bins=64, min=0, max=1)
    chi_squared = ((counts - N / 64).square() / (N / 64)).sum()
    assert 30 < chi_squared < 110  # 63 degrees of freedom: within about 4 deviations
    assert abs(correlation(u[:-1], u[1:])) < 0.02


@pytest.mark.parametrize(
    ("seed", "name", "expert"),
    [(1, "w", 0), (2, "w", 0), (-1, "w", 0), (0, "v", 0), (0, "w", 1), (0, "w1", 0)],
)
def test_another_seed_name_or_expert_is_independent(seed: int, name: str, expert: int) -> None:
    u, other = numbers(), numbers(seed, name, expert)
    assert abs(correlation(u, other)) < 0.02
    both = ((u < 0.5) & (other < 0.5)).double().mean()
    assert abs(both - 0.25) < 0.01


def test_neighbouring_seeds_are_not_shifted_copies() -> None:
    u = numbers(0)
    for seed in (1, 2, 3):
        other = numbers(seed)
        for shift in range(-4, 5):
            assert abs(correlation(u, other.roll(shift))) < 0.02
        assert abs(correlation(u, other.flip(0))) < 0.02


def test_seed_expert_and_name_do_not_run_together() -> None:
    assert not torch.equal(Draw(1, "w").uniform(11, LIKE), Draw(11, "w").uniform(1, LIKE))
    assert not torch.equal(Draw(1, "w").uniform(23, LIKE), Draw(12, "w").uniform(3, LIKE))
    assert not torch.equal(Draw(0, "1w").uniform(1, LIKE), Draw(0, "w").uniform(11, LIKE))


def test_numbers_belong_to_the_flat_index() -> None:
    flat = numbers()
    square = Draw(0, "w").uniform(0, torch.empty(256, 256))
    assert torch.equal(square.flatten(), flat)
    longer = Draw(0, "w").uniform(0, torch.empty(2 * N))
    assert torch.equal(longer[:N], flat)
    turned = Draw(0, "w").uniform(0, torch.empty(256, 256).T)
    assert torch.equal(turned, square)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,)])
def test_small_shapes(shape: tuple[int, ...]) -> None:
    assert Draw(0, "w").uniform(0, torch.empty(shape)).shape == shape


def test_masks_are_nested() -> None:
    u = numbers()
    masks = [u < density for density in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert not masks[0].any()
    assert masks[-1].all()
    for few, many in pairwise(masks):
        assert (few <= many).all()


def test_threads_do_not_matter() -> None:
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            runs.append(numbers())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*runs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is present")
def test_the_accelerator_draws_the_same() -> None:
    there = Draw(0, "w").uniform(0, LIKE.cuda())
    assert torch.equal(there.cpu(), numbers())
