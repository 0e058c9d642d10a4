"""The self-check of a study's shortcuts: made once, as it begins, and told in its results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merge_ops.atomic import write_text
from studies.console import warn
from studies.paths import SHORTCUTS

if TYPE_CHECKING:
    from studies.evaluator import Evaluator


def check_shortcuts(evaluator: "Evaluator") -> None:
    """Compare the engine's scores of the first block with plain ones, on the model as loaded.

    Written into the study's folder and told; a study that goes on has done it already. Where
    nothing can be compared nothing is written.
    """
    from objectives.self_check import self_check

    path = evaluator.folder / SHORTCUTS
    if path.exists():
        return
    evaluation = evaluator.evaluation(evaluator.objectives)
    found = [c.record() for c in self_check(evaluator.resident, evaluator.objectives, evaluation)]
    if found:
        write_text(path, json.dumps(found, indent=1) + "\n")
    for line in shortcut_lines(found):
        warn(line)


def read_shortcuts(folder: Path) -> list[dict[str, Any]]:
    """What was found as the study began; empty if nothing was compared."""
    path = folder / SHORTCUTS
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return found


def shortcut_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line per objective."""
    return [
        f"{one['objective']}: of {one['n']} examples that were scored again one by one, without "
        f"shortcuts, {len(one['flipped'])} came out differently"
        + (f" ({_some(one['flipped'])})" if one["flipped"] else "")
        + (f"; numbers differ by up to {one['largest']:.1g}" if one["largest"] else "")
        for one in found
    ]


def _some(names: Sequence[str], count: int = 3) -> str:
    """The first names."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
