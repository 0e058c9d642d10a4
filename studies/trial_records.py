"""The trials of a search as plain data, for scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from search.front import front_of, is_front
from studies.about import read_about
from studies.shrunken import shrunken
from studies.trial_facts import record


def records(folder: Path, trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """Each trial, what is believed of its score, and whether it stands on the front.

    Args:
        folder: the study's.
        trials: of one of its searches.
    """
    believed = shrunken(read_about(folder), trials)
    front = {t.number for t in front_of(trials)} if is_front(trials) else set[int]()
    return [
        {**record(t), "shrunken": believed.get(t.number), "front": t.number in front}
        for t in trials
    ]
