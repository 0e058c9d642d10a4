"""What one candidate costs: CPU seconds and bytes moved, against plain copies and mergekit.

Builds random models of the size asked for, makes them resident, and lets the live model become
one candidate after another, each with other coefficients. Every stream that a method reads or
writes is counted once; the share of `copy_`'s bandwidth is taken against copies of the same
tensors, timed in turn with the candidates. The figures stand in docs/benchmarks.md.

    python benchmarks/engine.py --params 370M --threads 1 --json engine.json
    python benchmarks/engine.py --mergekit ../other-venv/bin/python
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from growth import draw_growth
from random_models import write_models

from merge_ops.recipe import Entry, Recipe, Setting, Source
from merge_ops.recipe_text import write_recipe
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime

METHODS = {
    "linear": {},
    "slerp": {},
    "task_arithmetic": {},
    "dare_linear": {"density": 0.5},
    "dare_ties": {"density": 0.5},
    "ties": {"density": 0.5},
    "breadcrumbs": {"density": 0.5, "gamma": 0.01},
}
_EXCLUDED = ("embed_tokens", "lm_head")  # tiny here, and the models have no tokenizer
UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}
Row = dict[str, object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", nargs="+", default=["370M"], help="of each model: 70M 370M")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--experts", nargs="+", type=int, default=[2])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, torch.get_num_threads()])
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--kernels", default="compiled", choices=["compiled", "eager"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--mergekit", help="python of an environment that has mergekit")
    parser.add_argument("--figure", type=Path, help="draw how the cost grows into this PNG")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    arguments = parser.parse_args()
    print(
        f"{'method':16s} {'threads':>7s} {'params':>7s} {'experts':>7s} {'CPU s':>7s} "
        f"{'GB':>6s} {'of copy_':>8s} {'mergekit':>8s}"
    )
    rows = measure(arguments)
    if arguments.figure:
        draw_growth(rows, arguments.figure)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Every method at every size, with every number of experts and threads."""
    rows: list[Row] = []
    for params in arguments.params:
        with tempfile.TemporaryDirectory() as folder:
            models = write_models(
                Path(folder), _count(params), max(arguments.experts), arguments.dtype
            )
            for experts in arguments.experts:
                for method in arguments.methods:
                    rows += _method_rows(method, experts, models, arguments)
    return rows


def _count(text: str) -> int:
    unit = text[-1].upper()
    return int(float(text[:-1]) * UNITS[unit]) if unit in UNITS else int(text)


def _method_rows(
    method: str, experts: int, models: Sequence[Path], arguments: argparse.Namespace
) -> list[Row]:
    """One method with every number of threads."""
    count = 1 if method == "slerp" else experts
    recipe = _recipe(method, models[: count + 1], 0, arguments.dtype)
    runtime = Runtime(arguments.device, kernels=arguments.kernels, report=_note)
    resident = load_resident(recipe, runtime)
    rows = []
    for threads in dict.fromkeys(arguments.threads):
        torch.set_num_threads(threads)
        seconds, copy = _measure(resident, models[: count + 1], method, arguments)
        row = _row(method, threads, count, resident, (seconds, copy))
        if arguments.mergekit:
            theirs = _mergekit(recipe, Path(models[0]).parent, threads, arguments)
            row["mergekit_ratio"] = round(theirs / seconds, 1)
        rows.append(row)
        _print(row)
    return rows


def _recipe(method: str, models: Sequence[Path], step: int, dtype: str) -> Recipe:
    """A candidate; each `step` has other coefficients, so that no tensor is skipped."""
    common = METHODS[method]
    base, *experts = map(str, models)
    shift = 0.003 * (step % 50)

    def own(place: int) -> dict[str, Setting]:
        if method == "slerp":
            return {}
        values = {"weight": 0.4 + 0.1 * place + shift, **common}
        if "density" in values:
            values["density"] += shift
        return {key: (Entry(None, value),) for key, value in values.items()}

    sources = [Source(model, own(i)) for i, model in enumerate(experts)]
    if method == "linear":
        return Recipe(method, tuple(sources), dtype=dtype, exclude=_EXCLUDED)
    parameters = {"t": (Entry(None, 0.3 + shift),)} if method == "slerp" else {}
    listed = (Source(base), *sources) if method == "slerp" else tuple(sources)
    return Recipe(method, listed, base, parameters, dtype=dtype, exclude=_EXCLUDED)


def _measure(
    resident: ResidentModel, models: Sequence[Path], method: str, arguments: argparse.Namespace
) -> tuple[float, float]:
    """CPU seconds of a candidate and of copying as many tensors: of the round of median ratio.

    A candidate and the copies of a round follow each other, so that they meet the same load.
    """
    live = [p.detach() for p in resident.parameters.values()]
    spare = [p.clone() for p in live]
    steps = iter(range(1, 1000))

    def become() -> None:
        resident.become(_recipe(method, models, next(steps), arguments.dtype))

    def copy() -> None:
        for one, other in zip(live, spare, strict=True):
            one.copy_(other)

    become()  # compiles, ranks
    rounds = [(_cpu_seconds(become), _cpu_seconds(copy)) for _ in range(arguments.repeats)]
    resident.become(_recipe(method, models, 0, arguments.dtype))
    rounds.sort(key=lambda times: times[0] / times[1])
    return rounds[len(rounds) // 2]


def _cpu_seconds(action: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        start = time.perf_counter()
        action()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    action()
    return time.process_time() - start


def _row(
    method: str, threads: int, experts: int, resident: ResidentModel, times: tuple[float, float]
) -> Row:
    seconds, copy = times
    merged = list(resident.parameters.values())
    parameters = sum(p.numel() for p in merged)
    size = parameters * merged[0].itemsize
    streams = experts + 1 + (method != "linear")  # experts, result, base
    return {
        "method": method,
        "threads": threads,
        "parameters": parameters,
        "experts": experts,
        "cpu_seconds": round(seconds, 4),
        "copy_seconds": round(copy, 4),
        "bytes_moved": streams * size,
        "copy_fraction": round(streams / seconds / (2 / copy), 3),
        "mergekit_ratio": None,
    }


def _mergekit(recipe: Recipe, folder: Path, threads: int, arguments: argparse.Namespace) -> float:
    """CPU seconds of the same merge by mergekit."""
    path = folder / "mergekit.yaml"
    write_recipe(recipe, path)
    script = Path(__file__).resolve().with_name("mergekit_in_memory.py")
    command = [arguments.mergekit, str(script), str(path), str(threads), "1"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return min(seconds)


def _print(row: Row) -> None:
    ratio = f"{row['mergekit_ratio']:.0f}x" if row["mergekit_ratio"] else "-"
    moved = float(str(row["bytes_moved"])) / 1e9
    print(
        f"{row['method']:16s} {row['threads']:7d} {float(str(row['parameters'])) / 1e6:6.0f}M "
        f"{row['experts']:7d} {row['cpu_seconds']:7.3f} {moved:6.2f} {row['copy_fraction']:8.2f} "
        f"{ratio:>8s}",
        flush=True,
    )


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
