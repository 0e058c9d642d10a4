"""What a study's examples can tell, before its search."""

from collections import Counter
from collections.abc import Sequence

from objectives.objective import Objective
from objectives.outlook import outlook
from objectives.records import Split


def foresee(objectives: Sequence[Objective], trials: int | None, confirm_top: int) -> list[str]:
    """A line for each objective and split: its sharpness, and how far its winner may flatter.

    Args:
        objectives: of the study, with their data.
        trials: candidates that the selection split will score; None if only time limits them,
            and then nothing is said of the best of them.
        confirm_top: candidates that the confirm split will score.
    """
    best = confirm_top if trials is None else min(confirm_top, trials)
    candidates: dict[Split, int] = {"selection": trials or 1, "confirm": best, "test": 1}
    lines = []
    for objective in objectives:
        for split, count in candidates.items():
            sizes = Counter(example.category for example in objective.examples(split))
            found = outlook(sizes, objective.average, count)
            lines.append(f"{objective.name}, {split}: {found.text()}")
    return lines
