"""WUDI in closed form (swudi) against 300 steps of Adam (wudi): seconds, and the loss reached.

Task vectors are random, of low rank plus noise; prints ratios. The figures stand in
docs/benchmarks.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from merge_ops.methods.swudi import solve_swudi
from merge_ops.methods.wudi import solve_wudi

SHAPES = ((896, 896), (4864, 896), (896, 4864))
"""Of a decoder of width 896: attention; up and gate; down."""

SETTINGS: tuple[tuple[float, float], ...] = ((300.0, 0.65), (2000.0, 1.0), (1e5, 1.0))
"""(t, r) of swudi; the first is the default."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shapes", nargs="+", default=["x".join(map(str, s)) for s in SHAPES])
    parser.add_argument("--json", type=Path, help="write the rows here too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shapes = [tuple(map(int, text.split("x"))) for text in arguments.shapes]
    print(f"{'matrix':10s} {'experts':>7s}  {'solver':26s} {'s':>8s} {'faster':>7s} {'loss':>7s}")
    rows = []
    for m, n in shapes:
        for count in (2, 3):
            for row in _rows(m, n, count, arguments.repeats):
                rows.append(row)
                print(
                    f"{row['matrix']:10s} {row['experts']:7d}  {row['solver']:26s} "
                    f"{row['seconds']:8.3f} {row['faster']:6.1f}x {row['loss']:7.3f}",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def _rows(m: int, n: int, count: int, repeats: int) -> list[dict[str, object]]:
    """Adam first; times and losses of the others are given against its own."""
    taus = task_vectors(m, n, count)
    found = [("adam, 300 steps", lambda: solve_wudi(taus, solver="adam", steps=300, lr=1e-5))]
    for t, r in SETTINGS:
        found.append((f"swudi, t {t:g}, r {r:g}", _swudi(taus, t, r)))
    found.append(("none: the sum", lambda: torch.stack(taus).sum(0)))
    rows: list[dict[str, object]] = []
    first_seconds = first_loss = 0.0
    for name, solve in found:
        adam = not rows
        seconds, merged = _timed(solve, 1 if adam else repeats)
        own = loss(merged, taus)
        if adam:
            first_seconds, first_loss = seconds, own
        rows.append(
            {
                "matrix": f"{m}x{n}",
                "experts": count,
                "solver": name,
                "seconds": seconds,
                "faster": first_seconds / seconds,
                "loss": own / first_loss,
            }
        )
    return rows


def _swudi(taus: Sequence[Tensor], t: float, r: float) -> Callable[[], Tensor]:
    return lambda: solve_swudi(taus, t=t, r=r)


def task_vectors(m: int, n: int, count: int) -> list[Tensor]:
    """Of rank 32 plus noise, entries of about 1e-3, as fine-tunes of weights of 0.02 show."""
    generator = torch.Generator().manual_seed(m * n + count)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def one() -> Tensor:
        return torch.mul(normal(m, 32) @ normal(32, n) / 32**0.5 + 0.1 * normal(m, n), 1e-3)

    return [one() for _ in range(count)]


def loss(tau: Tensor, taus: Sequence[Tensor]) -> float:
    """The WUDI loss, sum_i ||(tau - tau_i) tau_i^T||_F^2 / ||tau_i||_F^2, in float64."""
    exact = [other.double() for other in taus]
    parts = [((tau.double() - t) @ t.T).square().sum() / t.square().sum() for t in exact]
    return float(torch.stack(parts).sum())


def _timed(solve: Callable[[], Tensor], repeats: int) -> tuple[float, Tensor]:
    """Median seconds of processor time, and the result."""
    spent, merged = [], torch.empty(0)
    for _ in range(repeats):
        start = time.process_time()
        merged = solve()
        spent.append(time.process_time() - start)
    return statistics.median(spent), merged


if __name__ == "__main__":
    main()
