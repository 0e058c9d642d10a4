"""From `--workers` to an evaluator: Ray connected, workers started, the first one opened."""

import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from merge_ops.errors import UserError
from merge_ops.references import split_adapter
from merge_ops.rewriting import find_method
from studies.console import warn
from studies.duration import seconds
from studies.objectives_setup import ObjectiveSet
from studies.out_folder import inputs
from studies.setup import StudyFile
from studies.workers.bench import open_bench
from studies.workers.block_plan import block_plan
from studies.workers.in_process import InProcess
from studies.workers.protocol import Order, Ship, Workers
from studies.workers.ray_cluster import connected, nodes
from studies.workers.ray_pool import RayPool
from studies.workers.ray_room import Room
from studies.workers.ray_worker import actor_maker
from studies.workers.remote import RemoteEvaluator
from studies.workers.scheduler import Scheduler
from studies.workers.shipping import load, named_pictures


@dataclass(frozen=True, slots=True)
class Crew:
    """What the command line says of workers.

    Attributes:
        workers: how many; None for one on every GPU of a cluster (on every CPU without any).
        address: of a Ray cluster; None for this machine alone.
        gpus: for each worker; above 1 its model is spread over them.
        ship: whether files are sent to nodes; see `Order.ship`.
    """

    workers: int | None = None
    address: str | None = None
    gpus: int = 1
    ship: Ship = "auto"


@contextmanager
def remote_evaluator(
    study: StudyFile, crew: Crew | None, objectives: ObjectiveSet, known: Mapping[str, str]
) -> Iterator[RemoteEvaluator]:
    """An evaluator whose workers load the study's models.

    Args:
        study: the checked file, with its statistics.
        crew: who; None for this process alone.
        objectives: the study's.
        known: sha256 of the models.

    Raises:
        UserError: no Ray, no worker, or statistics that one process must collect first.
    """
    traits = find_method(study.config.method).traits
    if traits.statistics is not None and study.template.statistics is None:
        raise UserError(
            f"{study.file.path}: {study.config.method} takes statistics, which one process "
            f"collects before workers begin: mergetuna statistics {study.file.path}"
        )
    plan = block_plan(study.config, objectives)
    threads = study.config.runtime.threads or 1
    order = Order(
        file=str(study.file.path.resolve()),
        out=str(study.out.resolve()),
        identities=dict(known),
        host=socket.gethostname(),
        data=plan.digest(),
        needs=local_files(study),
    )
    with ExitStack() as stack:
        if crew is None:
            bench = open_bench(order)
            workers: Workers = InProcess(bench)
            facts, count = bench.facts(), 1
        else:
            order = replace(order, threads=threads)
            pictures = named_pictures(objectives.main)
            pool = stack.enter_context(_pool(study, crew, order, pictures))
            workers, facts, count = pool, pool.open(), pool.size()
        front = study.config.front_values()
        scheduler = Scheduler(workers)
        wait = seconds(study.config.runtime.disk_wait)
        yield RemoteEvaluator(
            facts, plan, scheduler, study.out, known, objectives.smooth, front, count, wait
        )


@contextmanager
def _pool(
    study: StudyFile, crew: Crew, order: Order, pictures: Collection[Path]
) -> Iterator[RayPool]:
    """Ray's workers, as they start; ended in the end."""
    with connected(crew.address, order.threads * (crew.workers or 1)) as ray:
        room = _room(study, crew, sum(node.gpus for node in nodes(ray)), order.threads)
        order = replace(order, shard=room.gpus > 1, ship=crew.ship)
        cargo = None if crew.ship == "never" else partial(load, ray.put, order, pictures)
        pool = RayPool(ray, actor_maker(ray), order, room, cargo)
        each, kind = (room.gpus, "GPU") if room.gpus else (room.cpus, "CPU")
        count = "as many workers as fit"
        if room.workers is not None:
            count = f"{room.workers} worker{'s' * (room.workers > 1)}"
        warn(f"{study.config.name}: {count}, {each} {kind}{'s' * (each > 1)} each")
        try:
            yield pool
        finally:
            pool.close()


def local_files(study: StudyFile) -> tuple[str, ...]:
    """Local files and folders that a worker reads, absolute and each once."""
    found = [str(path.resolve()) for path in inputs(study.config, study.file.path, study.template)]
    for reference in study.template.references():
        found += [part for part in split_adapter(reference, study.folder) if part]
    if study.template.statistics is not None:
        found.append(study.template.statistics.path)
    for objective in study.config.objectives:
        tasks = getattr(objective, "tasks_folder", None)
        found += [str((study.folder / tasks).resolve())] if tasks else []
    return tuple(dict.fromkeys(path for path in found if Path(path).is_absolute()))


def _room(study: StudyFile, crew: Crew, gpus: float, threads: int) -> Room:
    """What a worker takes: GPUs if there are any and the study does not say otherwise."""
    device = study.config.runtime.device
    uses = device.startswith("cuda") or (device == "auto" and gpus > 0)
    each = crew.gpus if uses else 0
    workers = crew.workers
    if workers is None and crew.address is None:
        workers = max(1, int(gpus // each) if each else 1)
    if each and crew.address is None and workers is not None and workers * each > gpus:
        raise UserError(
            f"--workers {workers} with {each} GPUs each need {workers * each}, but this machine "
            f"has {gpus:.0f}."
        )
    return Room(workers, threads, each)
