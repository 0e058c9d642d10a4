"""lineage.json: what a release was made of: models, data, trials, versions, by their sums."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merge_ops.recipe import Recipe
from studies.journal import GLOBAL, JOURNAL, SEARCH, read_ledger
from studies.parents import Parent, find_parents
from studies.paths import RECIPE, RESULTS, SPLIT_FILE, TEST_READS
from studies.status import count_lines

LINEAGE = "lineage.json"


def lineage(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """What the study of a folder and its recipe were made of.

    Args:
        folder: the study's.
        recipe: as its file says.

    Raises:
        UserError: a model is not there, or the ledger cannot be read.
    """
    provenance = recipe.provenance
    searches = read_ledger(folder).searches
    return {
        "study": provenance.get("study"),
        "trial": provenance.get("trial"),
        "digest": provenance.get("digest"),
        "created": provenance.get("created"),
        "models": [_model(parent, provenance) for parent in find_parents(recipe)],
        "data": _data(folder / SPLIT_FILE),
        "trials": {name: len(searches.get(name, [])) for name in (SEARCH, GLOBAL)},
        "test_reads": count_lines(folder / TEST_READS),
        "versions": provenance.get("versions", {}),
        "files_sha256": {
            name: _sha256(folder / name)
            for name in (RECIPE, RESULTS, SPLIT_FILE, JOURNAL)
            if (folder / name).is_file()
        },
    }


def _model(parent: Parent, provenance: Mapping[str, Any]) -> dict[str, Any]:
    commits = provenance.get("models_commit")
    return {
        "model": parent.name,
        "roles": list(parent.roles),
        "sha256": parent.sha256,
        "commit": commits.get(parent.reference) if isinstance(commits, Mapping) else None,
        "licence": parent.licence,
        "made_from": list(parent.made_from),
    }


def _data(path: Path) -> dict[str, Any]:
    """Sources, and by objective and split the number of examples and the sum of their ids."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {
        "sources": content.get("sources", []),
        "seeds": content.get("seeds", {}),
        "objectives": {
            name: {
                split: {
                    "n": len(ids),
                    "ids_sha256": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
                }
                for split, ids in splits.items()
            }
            for name, splits in content.get("objectives", {}).items()
        },
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
