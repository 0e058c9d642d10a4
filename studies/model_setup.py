"""From a study file to its live model."""

from collections.abc import Callable
from dataclasses import replace

from merge_ops.devices import check_attention
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from studies.console import warn
from studies.model_places import at_models
from studies.setup import StudyFile


def prepare_runtime(study: StudyFile) -> Runtime:
    """Set the number of CPU threads and choose the device; "auto" takes the first GPU if any.

    Raises:
        UserError: the device or the attention is not there; with its place in the file.
    """
    import torch

    config = study.config
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    device = config.runtime.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    limit = config.runtime.memory_gb
    with study.file.at("runtime", "attention"):
        check_attention(config.runtime.attention)
    with study.file.at("runtime", "device"):
        return Runtime(
            device,
            config.runtime.attention,
            config.runtime.image_backend,
            config.runtime.kernels,
            memory=None if limit is None else int(limit * 1e9),
            shard=config.runtime.shard,
            report=warn,
        )


def load_models(study: StudyFile, report: Callable[[str], None] = warn) -> ResidentModel:
    """Load the study's models; the target is always among the sources, for the comparison."""
    runtime = replace(prepare_runtime(study), report=report)
    with at_models(study):
        return load_resident(
            study.template,
            runtime,
            also=[study.template.kept_from()],
            solutions=study.solutions(),
        )
