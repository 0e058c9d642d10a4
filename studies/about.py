"""about.json: what those who read a study's folder must know beside its trials."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merge_ops.atomic import write_text
from objectives.records import ExampleScore, ScoreSet
from studies.paths import ABOUT

if TYPE_CHECKING:  # torch and pydantic take seconds, and reading needs neither
    from objectives.objective import Objective
    from studies.setup import StudyFile


def write_about(study: "StudyFile", objectives: "Sequence[Objective]", layers: int) -> None:
    """Write it; anew at every start, for the budget may change.

    Args:
        study: the checked file.
        objectives: what the search maximises.
        layers: number of text layers of the live model.
    """
    from studies.duration import seconds

    config = study.config
    timeout = config.budget.timeout
    content = {
        "study": config.name,
        "file": os.path.relpath(study.file.path, study.out),
        "method": config.method,
        "experts": list(study.labels),
        "layers": layers,
        "sampler": config.sampler,
        "seed": config.seed,
        "searches": 2 if config.compare else 1,
        "trials": config.budget.trials,
        "timeout_s": None if timeout is None else seconds(timeout),
        "front": list(config.front_values()),
        "objectives": {
            o.name: {
                "average": o.average,
                "weight": o.weight,
                "categories": [example.category for example in o.examples("selection")],
            }
            for o in objectives
        },
    }
    write_text(study.out / ABOUT, json.dumps(content) + "\n")


def read_about(folder: Path) -> dict[str, Any]:
    """What it says; empty where there is none that can be read."""
    try:
        content = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def score_sets(
    about: Mapping[str, Any], scores: Mapping[str, Sequence[float | None]]
) -> list[ScoreSet] | None:
    """A trial's scores on the selection split as they were, or None where too little is known.

    Args:
        about: as `read_about` gives it.
        scores: by objective, in the order of the data, as a trial keeps them.
    """
    known = about.get("objectives", {})
    if known.keys() != scores.keys():
        return None
    sets = []
    for name, facts in known.items():
        values = [value for value in scores[name] if value is not None]
        if len(facts["categories"]) != len(values):
            return None  # it was stopped before its end
        pairs = zip(values, facts["categories"], strict=True)
        examples = tuple(ExampleScore(str(i), v, c) for i, (v, c) in enumerate(pairs))
        sets.append(ScoreSet(name, facts["average"], facts["weight"], examples))
    return sets
