"""Build: trains the whole zoo in two processes and writes its manifest."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from studies.demo.plan import Plan
from studies.demo.progress import ShowSteps, stage_bars
from studies.demo.zoo import MANIFEST_NAME, MODEL_NAMES, file_sums

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

PROCESSES = 2
STAGE_PARENTS: dict[str, tuple[str, ...]] = {  # the most urgent first
    "base": (),
    "vision": (),
    "math": ("base",),
    "vlm": ("vision", "base"),
    "reward": ("math",),
    "skill_sums": ("vlm",),
    "skill_compare": ("vlm",),
    "skill_places": ("vlm",),
}
Report = Callable[[str], None]

_messages: Queue[tuple[str, int, int]] | None = None  # of a worker process, set as it starts


def build_zoo(
    out: Path, seed: int, report: Report, plan: Plan | None = None
) -> dict[str, dict[str, float]]:
    """Trains every model of the zoo into `out` and writes `out/manifest.json`.

    Two one-thread processes train the stages that do not wait for each other. The same seed
    gives the same files on the same machine and versions.

    Args:
        out: a folder that is made; models of the zoo already in it are replaced.
        seed: everything random follows from it, and only from it.
        report: takes one line when a stage ends; on a terminal bars show the steps.
        plan: the length of the training runs, by default that of the shipped zoo.

    Returns:
        The measured accuracies, as the manifest keeps them.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mergetuna-zoo-") as scratch:
        work = Path(scratch)
        accuracies = _train_and_measure(work, seed, plan or Plan(), report)
        for name in MODEL_NAMES:
            shutil.rmtree(out / name, ignore_errors=True)
            shutil.move(work / name, out / name)
    write_manifest(out, seed, accuracies)
    report(f"zoo of seed {seed} in {out}, {time.perf_counter() - started:.0f} s")
    return accuracies


def write_manifest(out: Path, seed: int, accuracies: dict[str, dict[str, float]]) -> None:
    """Writes what the zoo is: its seed, the versions that trained it, sums and accuracies."""
    manifest: dict[str, Any] = {
        "seed": seed,
        "versions": {name: version(name) for name in ("torch", "transformers", "scikit-learn")},
        "accuracies": accuracies,
        "files": file_sums(out),
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (out / MANIFEST_NAME).write_text(text, encoding="utf-8")


def _train_and_measure(
    work: Path, seed: int, plan: Plan, report: Report
) -> dict[str, dict[str, float]]:
    """Runs every stage as soon as its parents are there, then measures the models."""
    context = get_context("spawn")
    messages: Queue[tuple[str, int, int]] = context.Queue()
    with (
        ProcessPoolExecutor(PROCESSES, context, _start_worker, (messages,)) as pool,
        stage_bars() as show,
    ):
        waiting, running, done = list(STAGE_PARENTS), dict[Future[float], str](), set[str]()
        while waiting or running:
            for name in _ready(waiting, done)[: PROCESSES - len(running)]:
                waiting.remove(name)
                running[pool.submit(_work, name, work, seed, plan)] = name
            finished = wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done
            _forward(messages, show)
            for future in finished:
                name = running.pop(future)
                report(f"{name}: trained in {future.result():.0f} s")
                done.add(name)
        return pool.submit(_measure, work).result()


def _ready(waiting: list[str], done: set[str]) -> list[str]:
    return [name for name in waiting if done.issuperset(STAGE_PARENTS[name])]


def _forward(messages: Queue[tuple[str, int, int]], show: ShowSteps) -> None:
    while True:
        try:
            show(*messages.get_nowait())
        except Empty:
            return


def _start_worker(messages: Queue[tuple[str, int, int]]) -> None:
    global _messages
    _messages = messages


def _work(name: str, work: Path, seed: int, plan: Plan) -> float:
    """Runs one stage in a worker process; returns the seconds it took."""
    from studies.demo.stages import run_stage

    _silence()
    started = time.perf_counter()

    def tick(steps: int, total: int) -> None:
        if _messages is not None and (steps % 10 == 0 or steps == total):
            _messages.put((name, steps, total))

    run_stage(name, work, seed, plan, tick)
    return time.perf_counter() - started


def _measure(work: Path) -> dict[str, dict[str, float]]:
    """Measures the models in a worker process, one thread as in training."""
    import torch

    from studies.demo.accuracy import measure_zoo

    _silence()
    torch.set_num_threads(1)
    return measure_zoo(work)


def _silence() -> None:
    """Turns off transformers' own bars, which would cut through the build's."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
