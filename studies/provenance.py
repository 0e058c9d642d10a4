"""Where a recipe came from: versions, models, data, and what of a study file must not change."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from merge_ops.download import commit
from merge_ops.recipe import Recipe
from merge_ops.references import split_adapter
from studies.scorer import ModelFacts
from studies.setup import StudyFile

_PACKAGES = ("mergetuna", "torch", "transformers", "optuna", "cma", "datasets", "numpy")
FREE = ("budget", "tracking", "out", "confirm_top", "compare", "name", "runtime.disk_wait")
"""Keys that may change between two runs of one study: they alter no trial."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def study_digest(study: StudyFile, identities: Mapping[str, str], *, whole: bool = False) -> str:
    """Sha256, in hex, of all that decides the trials of a study: settings and models.

    Args:
        study: the checked file.
        identities: sha256 of the models, by reference.
        whole: take in every key but the budget, so that any other change of the file shows.
    """
    settings = study.config.model_dump()
    for key in ("budget",) if whole else FREE:
        head, _, tail = key.partition(".")
        (settings[head] if tail else settings).pop(tail or head)
    if not whole:
        settings["storage"] = None  # where trials lie alters none
    _drop_unset(settings, ("storage", "front"))
    for objective in settings["objectives"]:
        _drop_unset(objective, ("at_least", "parent"))
    _drop_unset(settings.get("tracking", {}), ("system_metrics",))
    named = {key: settings.pop(key) for key in ("target", "base", "reward_head")}
    settings["experts"] = [
        [identities[source.model], label]
        for source, label in zip(study.template.models, study.labels, strict=True)
    ]
    references = {"target": study.template.target, "base": study.template.base_model}
    references["reward_head"] = study.template.reward_head
    settings |= {key: identities[ref] for key in named if (ref := references[key])}
    settings.pop("towers")
    if study.template.towers:
        owners = study.template.towers.items()
        settings["towers"] = {key: identities[owner] for key, owner in owners}
    if study.template.statistics is not None:
        settings["statistics_sha256"] = study.template.statistics.sha256
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _drop_unset(settings: dict[str, Any], keys: Sequence[str]) -> None:
    """Take out keys that older studies did not know, so that their digests stay."""
    for key in keys:
        if settings.get(key, ...) is None:
            settings.pop(key)


def with_commits(recipe: Recipe) -> Recipe:
    """A recipe whose provenance says which commit each hub id resolved to, if it names any."""
    parts = [part for ref in recipe.references() for part in split_adapter(ref) if part]
    resolved = {part: commit(part) for part in parts}
    known = {ref: found for ref, found in resolved.items() if found is not None}
    if not known:
        return recipe
    return replace(recipe, provenance={**recipe.provenance, "models_commit": known})


def vocabulary_note(resident: ModelFacts) -> dict[str, list[str]]:
    """Which rows of embeddings and head the tokenizers let merge, where those are not excluded."""
    return {"vocabulary": list(resident.vocabulary)} if resident.vocabulary else {}


def runtime_facts(study: StudyFile, device: str) -> dict[str, Any]:
    """How the live model ran."""
    import torch

    runtime = study.config.runtime
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "dtype": runtime.dtype,
        "attention": runtime.attention or "default",
        "image_backend": runtime.image_backend or "default",
        "tokens_per_batch": runtime.tokens_per_batch or "found",
        "cache_gb": runtime.cache_gb,
        "template": runtime.template,
    }
