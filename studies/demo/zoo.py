"""Zoo: where the shipped models lie, and whether they are as they were built."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MODELS_FOLDER = Path(__file__).parent / "models"
MODEL_NAMES = (
    "base",
    "math",
    "vlm",
    "reward",
    "skill_places",
    "skill_compare",
    "skill_sums",
)
MANIFEST_NAME = "manifest.json"


class ZooError(Exception):
    """A zoo that is incomplete or altered; the message names the file."""


def zoo_path(name: str, folder: Path = MODELS_FOLDER) -> Path:
    """The folder of one model of the zoo.

    Raises:
        ZooError: no model of the zoo has that name, or its folder is missing.
    """
    if name not in MODEL_NAMES:
        raise ZooError(f"the zoo has no model {name!r}; it has {', '.join(MODEL_NAMES)}")
    path = folder / name
    if not path.is_dir():
        raise ZooError(f"{path} is missing; `mergetuna zoo build --out DIR` makes a zoo")
    return path


def read_manifest(folder: Path = MODELS_FOLDER) -> dict[str, Any]:
    """What the build wrote down: seed, versions, sums of the files, measured accuracies.

    Raises:
        ZooError: the folder has no manifest.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise ZooError(f"{path} is missing: {folder} is not a zoo")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def verify_manifest(folder: Path = MODELS_FOLDER) -> None:
    """Checks every file of a zoo against the sha256 sums of its manifest.

    Raises:
        ZooError: a file is missing, differs or is not in the manifest; the message names it.
    """
    recorded = read_manifest(folder)["files"]
    found = file_sums(folder)
    for name in sorted(recorded.keys() | found.keys()):
        if name not in found:
            raise ZooError(f"{folder / name} is in the manifest and not in the folder")
        if name not in recorded:
            raise ZooError(f"{folder / name} is not in the manifest; remove it")
        if found[name] != recorded[name]:
            raise ZooError(
                f"{folder / name} differs from the manifest: sha256 {found[name]}, "
                f"recorded {recorded[name]}; restore the file or build the zoo again"
            )


def file_sums(folder: Path) -> dict[str, str]:
    """The sha256 of every file of the zoo's models, by its path inside the zoo."""
    paths = sorted(path for name in MODEL_NAMES for path in (folder / name).glob("**/*"))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file()
    }
