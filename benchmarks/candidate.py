"""What one candidate costs on the embedded zoo, against plain copies and full forward passes.

Prints CPU seconds and their ratios; run it with `make bench`. The figures stand in
docs/benchmarks.md.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from objectives.engine import Engine
from objectives.evaluation import Evaluation
from objectives.generation import ROLES, Generation
from objectives.reading import read_examples
from objectives.settings import Budget, Settings
from studies.demo.data import write_data
from studies.demo.zoo import zoo_path

METHODS = ("linear", "task_arithmetic", "ties", "dare_linear", "dare_ties")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = _build_rows(arguments.repeats) + _score_rows(max(3, arguments.repeats // 4))
    print(f"{'what':44s} {'CPU ms':>9s} {'ratio':>7s}  against")
    for row in rows:
        print(f"{row['what']:44s} {row['ms']:9.2f} {row['ratio']:7.2f}  {row['against']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def _recipe(method: str, weight: float) -> Recipe:
    density = {} if method in METHODS[:2] else {"density": (Entry(None, 0.5),)}
    sources = tuple(
        Source(str(zoo_path(name)), {"weight": (Entry(None, weight),), **density})
        for name in ("vlm", "math")
    )
    return Recipe(
        method,
        sources,
        base_model=str(zoo_path("base")),
        dtype="float32",
        target=str(zoo_path("vlm")),
        exclude=("embed_tokens", "lm_head"),
    )


def _build_rows(repeats: int) -> list[dict[str, object]]:
    """`become` of every method against one `copy_` of the same tensors."""
    resident = load_resident(_recipe("linear", 1.0), Runtime(), also=[str(zoo_path("base"))])
    wanted = {name.removeprefix("model.") for name in resident.merged_names}
    live = [p for n, p in resident.decoder.named_parameters() if n in wanted]
    spare = [p.detach().clone() for p in live]

    def copy() -> None:
        for parameter, source in zip(live, spare, strict=True):
            parameter.data.copy_(source)

    plain = _cpu_ms(copy, repeats)
    rows: list[dict[str, object]] = [
        {"what": "copy_ of one model", "ms": plain, "ratio": 1.0, "against": "itself"}
    ]
    for method in METHODS:
        weights = iter(0.5 + 0.001 * i for i in range(repeats + 2))

        def build(method: str = method, weights: object = weights) -> None:
            resident.become(_recipe(method, next(weights)))  # type: ignore[call-overload]

        spent = _cpu_ms(build, repeats)
        rows.append(
            {"what": f"become, {method}", "ms": spent, "ratio": spent / plain, "against": "copy_"}
        )
    return rows


def _score_rows(repeats: int) -> list[dict[str, object]]:
    """Scoring 400 questions with what stands before the decoder cached, and anew each time."""
    resident = load_resident(_recipe("linear", 0.5), Runtime())
    resident.become(_recipe("linear", 0.5))
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder))
        source = f"{folder}/reasoning-selection.parquet"
        examples = read_examples(source, ROLES, {})
    answers = Generation("reasoning", {"selection": examples}, max_new_tokens=4)
    nothing = Engine(Settings(budget=Budget(memory=0)))
    anew = Evaluation(resident, [answers], nothing)
    cached = Evaluation(resident, [answers])
    full = _cpu_ms(lambda: anew.score_sets("selection"), repeats)
    fast = _cpu_ms(lambda: cached.score_sets("selection"), repeats)
    return [
        {"what": "400 answers, prompts anew", "ms": full, "ratio": 1.0, "against": "itself"},
        {"what": "400 answers, replayed", "ms": fast, "ratio": full / fast, "against": "anew"},
    ]


def _cpu_ms(action: Callable[[], object], repeats: int) -> float:
    """Median CPU milliseconds of the process over repeats, after one to warm up."""
    action()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        spent.append(1000 * (time.process_time() - start))
    return statistics.median(spent)


if __name__ == "__main__":
    main()
