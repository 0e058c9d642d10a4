"""splits.json: which examples a study's splits hold, written before the first trial."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merge_ops.atomic import write_text
from merge_ops.errors import UserError
from studies.journal import has_ledger
from studies.paths import SPLIT_FILE


def claim_splits(out: Path, record: Mapping[str, Any]) -> None:
    """Write the record; a study that has begun must go on with the very same examples.

    Raises:
        UserError: as `check_splits`.
    """
    check_splits(out, record)
    write_text(out / SPLIT_FILE, json.dumps(record, indent=1) + "\n")


def check_splits(out: Path, record: Mapping[str, Any]) -> None:
    """Refuse a record that is not the one with which the study of a folder began.

    Args:
        out: the study's folder.
        record: ids by objective and split under "objectives", and how they came about.

    Raises:
        UserError: the study began with other examples.
    """
    path = out / SPLIT_FILE
    if path.is_file() and has_ledger(out):
        try:
            before = json.loads(path.read_text(encoding="utf-8"))["objectives"]
        except (ValueError, KeyError, TypeError):
            before = {}
        other = [
            f"{name}, {split}"
            for name, splits in record["objectives"].items()
            for split, ids in splits.items()
            if before.get(name, {}).get(split, ids) != ids
        ]
        if other:
            raise UserError(
                f"{path}: this study began with other examples ({'; '.join(other)}): its data or "
                "the settings of its data have changed. Undo the change, or choose another `out` "
                "folder."
            )
