"""A study's folder given where its file is wanted, or the other way round."""

import re
from pathlib import Path

from merge_ops.errors import UserError, did_you_mean
from merge_ops.yaml_file import check_there, read_yaml
from studies.about import read_about

_MOST = 1 << 16  # bytes of a file in which the key of a study is looked for


def no_study(folder: Path, why: str) -> UserError:
    """What is said of a path that is no study's folder.

    Args:
        folder: as the person at the keyboard wrote it.
        why: what is wrong with it if it is a folder.
    """
    if folder.is_dir():
        return UserError(f"{folder}: {why}")
    if not folder.exists():
        near = folder.parent.iterdir() if folder.parent.is_dir() else ()
        hint = did_you_mean(folder.name, (p.name for p in near if p.is_dir()))
        return UserError(f"{folder}: there is no such folder{hint or '.'}")
    meant = _folder_of(folder)
    hint = "." if meant is None else f"; did you mean the folder of that study, {meant}?"
    return UserError(f"{folder}: must be a study's folder, but is a file{hint}")


def check_study_file(path: Path) -> None:
    """Refuse what is no file, before anything heavy is imported for it.

    Raises:
        UserError: it is not there, or is a folder; the study file that it belongs to is named.
    """
    check_there(path)
    if not path.is_dir():
        return
    files = _files_of(path)
    hint = f"; did you mean {' or '.join(map(str, files))}?" if files else "."
    raise UserError(f"{path}: must be a study file, but is a folder{hint}")


def _folder_of(path: Path) -> Path | None:
    """The folder that a study file names; None if it is no study file."""
    try:
        content = read_yaml(path).data
    except UserError:
        return None
    name = content.get("out") or f"runs/{content.get('name')}"
    return path.parent / name if "objectives" in content and isinstance(name, str) else None


def _files_of(folder: Path) -> list[Path]:
    """The study file that filled a folder, or study files that lie in it."""
    own = read_about(folder).get("file")
    if isinstance(own, str) and (folder / own).is_file():
        file = (folder / own).resolve()
        return [file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file]
    return [path for path in sorted(folder.glob("*.y*ml")) if _is_study(path)][:3]


def _is_study(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return re.search(rb"^objectives:", stream.read(_MOST), re.MULTILINE) is not None
    except OSError:
        return False
