"""What one worker holds: a resident model, the study's objectives, and the caches of both."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from merge_ops.peak_memory import peak_memory, restart_peak
from merge_ops.recipe import Recipe
from objectives.objective import Objective
from studies.console import warn
from studies.engine_setup import make_engine
from studies.evaluator import Evaluator
from studies.model_setup import load_models
from studies.objectives_setup import make_objectives
from studies.preparation import prepare
from studies.setup import StudyFile, identities, read_study
from studies.shortcuts import checked
from studies.statistics import attach
from studies.tasks import objective_tasks
from studies.workers.block_plan import block_plan, variants
from studies.workers.protocol import Answer, Facts, Order, Piece
from studies.workers.relocation import relocated


@dataclass(slots=True)
class Bench:
    """One resident model and all that scores it.

    Attributes:
        evaluator: on the live model.
        variants: sets of objectives by name.
        root: what stands before the coordinator's paths on this node, where files were shipped.
        notes: what loading said.
    """

    evaluator: Evaluator
    variants: Mapping[str, tuple[Objective, ...]]
    root: str = ""
    notes: tuple[str, ...] = ()
    _written: Recipe | None = None

    def facts(self) -> Facts:
        """What the coordinator must know."""
        import torch

        resident = self.evaluator.resident
        return Facts(
            resident.layers,
            tuple(resident.merged_names),
            tuple(resident.vocabulary),
            resident.rows_sha256,
            str(resident.device),
            torch.get_num_threads(),
            socket.gethostname(),
            os.getpid(),
            self.notes,
        )

    def record(self) -> dict[str, Any]:
        """Where and how it scored the study's own objectives."""
        facts = self.facts()
        where = {"host": facts.host, "pid": facts.pid, "device": facts.device}
        return {**where, "threads": facts.threads, **self.evaluator.plan_record()}

    def check(self) -> list[dict[str, Any]]:
        """The self-check of the engine's shortcuts, on the model as it was loaded.

        Raises:
            ObjectiveError: an example cannot be judged.
        """
        return checked(self.evaluator)

    def score(self, piece: Piece) -> Answer:
        """Score one block on one model.

        Raises:
            UserError: the recipe is not of the resident models.
            ObjectiveError: the block cannot be scored.
        """
        restart_peak()
        start = time.perf_counter()
        if piece.recipe != self._written:
            self._written = None  # whatever happens now, the old one is no longer there
            self.evaluator.resident.become(relocated(piece.recipe, self.root))
            self._written = piece.recipe
        built = time.perf_counter()
        chosen = self.variants[piece.variant]
        evaluation = self.evaluator.evaluation([chosen[i] for i in piece.places])
        scores = evaluation.score(evaluation.blocks(piece.split)[piece.block])
        return Answer(scores, built - start, time.perf_counter() - built, peak_memory())


def open_bench(order: Order, root: str = "") -> Bench:
    """Load a study's models and data.

    Args:
        order: with the paths of this node.
        root: see `Bench`.

    Raises:
        UserError: they are not there, or are not those of the coordinator.
        ObjectiveError: data that cannot be used.
    """
    study = _as_ordered(read_study(Path(order.file)), order)
    objectives = make_objectives(study.config, study.folder)
    tasks = objective_tasks(study.config)
    named = variants(objectives)
    if block_plan(study.config, objectives).digest() != order.data:
        raise UserError(
            f"{socket.gethostname()}: its data gives other examples than the coordinator's on "
            f"{order.host}; every node must see the same files and versions."
        )
    if socket.gethostname() != order.host and identities(study) != order.identities:
        raise UserError(
            f"{socket.gethostname()}: its models are not those of {order.host}: their sha256 "
            "differ; every node must see the same files."
        )
    notes: list[str] = []

    def report(text: str) -> None:
        notes.append(text)
        warn(text)

    resident = load_models(study, report)
    loaded = tuple(notes)
    prepare(study, resident)
    engine = make_engine(study, study.template.kept_from(), order.identities)
    evaluator = Evaluator(
        resident, objectives.main, study.out, order.identities, tasks, engine, objectives.smooth
    )
    return Bench(evaluator, named, root, loaded)


def _as_ordered(study: StudyFile, order: Order) -> StudyFile:
    """The study on the devices of this worker: Ray numbers those that it gives from 0."""
    runtime = study.config.runtime
    changes = {
        "threads": runtime.threads or order.threads,
        "shard": runtime.shard or order.shard,
        "device": runtime.device.partition(":")[0],
    }
    config = study.config.model_copy(update={"runtime": runtime.model_copy(update=changes)})
    return attach(replace(study, config=config, out=Path(order.out)))
