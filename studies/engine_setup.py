"""From a study file to the engine that answers its objectives' requests."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version

from objectives.continuous import ContinuousWriter
from objectives.engine import Engine
from objectives.settings import Budget, Settings
from studies.config import RuntimeConfig
from studies.console import warn
from studies.setup import StudyFile

PROMPTS = "prompts"
"""Folder of a study in which captured prompts are kept, where it asks for that."""


def make_engine(study: StudyFile, target: str, identities: Mapping[str, str]) -> Engine:
    """The engine of one live model.

    Args:
        study: gives budgets and the seed of the order.
        target: the model whose tower, projector and embeddings run before the decoder.
        identities: sha256 of the models, by reference.
    """
    runtime = study.config.runtime
    budget = Budget(
        device=int(runtime.device_cache_gb * 2**30),
        memory=int(runtime.cache_gb * 2**30),
        disk=int(runtime.disk_cache_gb * 2**30),
        folder=study.out / PROMPTS,
    )

    def report(text: str) -> None:
        warn(f"{study.config.name}: {text}")

    settings = Settings(
        tokens=runtime.tokens_per_batch,
        block=study.config.racing.block,
        budget=budget,
        identity=_identity(runtime, identities.get(target, target)),
        seed=study.config.seed,
        report=report,
    )
    return Engine(settings, ContinuousWriter(report) if runtime.writer == "continuous" else None)


def _identity(runtime: RuntimeConfig, target: str) -> str:
    """Digest of what decides how a prompt looks at the decoder's door."""
    facts = [target, runtime.dtype, runtime.attention, runtime.image_backend, runtime.device]
    facts += [version("transformers"), version("torch")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
