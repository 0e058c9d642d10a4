"""What a study's folder tells a tracker: where it is mirrored, its tags, what it came to."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from studies.changes import SETTINGS
from studies.metric_names import end_metrics
from studies.paths import CHARTS, CHOICES, DEPTH, HISTORY, RECIPE, REPORT, RESULTS, TABLE
from studies.tracking_address import tracking_uri
from studies.tracking_runs import milliseconds
from studies.tracking_summary import Summary


def store_of(folder: Path) -> str:
    """Where the study of a folder is mirrored, with a password if the address has one."""
    return store_by(folder, settings_of(folder))


def study_name(folder: Path) -> str:
    """What the study of a folder is called."""
    return str(settings_of(folder)["name"])


def store_by(folder: Path, settings: Mapping[str, Any], uri: str | None = None) -> str:
    """Where the study of a folder is mirrored: as asked for, or as its settings say."""
    chosen = uri or (settings.get("tracking") or {}).get("uri")
    return tracking_uri(chosen, folder.absolute().parent)


def settings_of(folder: Path) -> dict[str, Any]:
    """With which settings the study went on last.

    Raises:
        UserError: they are not there.
    """
    path = folder / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return {**settings, "name": settings["name"], "sampler": settings["sampler"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: it must hold the study's settings, but {error!r}; `mergetuna run` on the "
            "study's file writes it."
        ) from None


def study_tags(settings: Mapping[str, Any]) -> dict[str, str]:
    """Tags of every run, from a study's settings."""
    return {"study": str(settings["name"]), "sampler": str(settings["sampler"])}


def summary_of(folder: Path) -> Summary | None:
    """What the study came to, as its folder tells it; None if it has not ended."""
    if not (folder / RESULTS).is_file():
        return None
    results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    found = results["rows"][-1]
    figures: dict[str, float] = {}
    for name, own in found["objectives"].items():
        figures |= {name: own["value"]}
        figures |= {f"{name}/{key}": value for key, value in own["categories"].items()}
    pictures = [folder / name for name in (HISTORY, DEPTH, CHOICES)]
    return Summary(
        (folder / RECIPE).read_text(encoding="utf-8"),
        (folder / TABLE).read_text(encoding="utf-8"),
        end_metrics(found["score"]["value"], figures),
        [*pictures, *sorted((folder / CHARTS).glob("*.png"))],
        folder / REPORT,
        _ended(results),
    )


def _ended(results: Mapping[str, Any]) -> int | None:
    """When the study ended, in milliseconds, as its results say."""
    try:
        return milliseconds(datetime.fromisoformat(results["created"]))
    except (KeyError, TypeError, ValueError):
        return None
