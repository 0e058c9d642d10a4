"""The self-check of a study's shortcuts: made once, as it begins, and told in its results."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merge_ops.atomic import write_text
from studies.console import warn
from studies.paths import SHORTCUTS

if TYPE_CHECKING:
    from studies.evaluator import Evaluator


def checked(evaluator: "Evaluator") -> list[dict[str, Any]]:
    """Compare the engine's scores of first examples with plain ones, on the model as loaded."""
    from objectives.self_check import self_check

    evaluation = evaluator.evaluation(evaluator.objectives)
    return [c.record() for c in self_check(evaluator.resident, evaluator.objectives, evaluation)]


def check_shortcuts(folder: Path, check: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
    """Have the shortcuts checked once in a study.

    Written into the study's folder and told; a study that goes on has done it already. Where
    nothing can be compared nothing is written.
    """
    path = folder / SHORTCUTS
    if path.exists():
        return
    found = check()
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
