"""Writing all jobs of a candidate, and making sure that what was written is finite."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from merge_ops.batch import Batch
from merge_ops.engine import Engine
from merge_ops.errors import UserError
from merge_ops.jobs import Job
from merge_ops.live_tensors import LiveTensor


def write_jobs(
    engine: Engine, live: Mapping[str, LiveTensor], jobs: Sequence[tuple[str, Job]]
) -> None:
    """Write them; where the inputs do not prove it, check that the result is finite.

    Args:
        engine: writes each of them.
        live: parameters by canonical name.
        jobs: by the canonical names of what they write.

    Raises:
        UserError: a merged weight is not finite; its parameter is named.
    """
    doubtful, batch = [], Batch()
    for i, (name, job) in enumerate(jobs):
        for _, following in jobs[i + 1 : i + 2]:
            engine.prefetch(following)
        if not engine.write(*_window(live[name].find(), job), batch):
            doubtful.append(name)
    batch.run()
    if not doubtful:
        return
    parts = [live[name].find().isfinite().all() for name in doubtful]
    finite = torch.stack([part.to(parts[0].device) for part in parts])
    if not bool(finite.all()):  # one reduction each, and one sync
        bad = doubtful[int(finite.int().argmin())]
        raise UserError(f"{bad}: merged weights must be finite, but this recipe's are not.")


def _window(live: Tensor, job: Job) -> tuple[Tensor, Job]:
    """Neighbouring rows are written where they lie, like a parameter of their own."""
    if job.rows is None or not job.rows.neighbours:
        return live, job
    return job.rows.of(live), replace(job, rows=None)
