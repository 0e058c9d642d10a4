"""What is said of a front: in the results of a study, and of trials so far."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def front_sentences(results: Mapping[str, Any]) -> list[str]:
    """What the front came to, as `results.json` holds it; nothing where none was searched."""
    front = results.get("front")
    if front is None:
        return []
    names, points, room = list(front["values"]), front["points"], front["hypervolume"]
    lines = [
        f"The front of {' and '.join(names)}: {front['selection_points']} trials on selection; of "
        f"{len(results['finalists'])} scored again {len(points)} stand on the front of confirm. "
        f"Hypervolume {room['selection']:.3f} on selection, {room['confirm']:.3f} on confirm, "
        f"{room['test']:.3f} on test; each is flattered by taking the best of noisy figures."
    ]
    for one in points:
        test = ", ".join(f"{name} {100 * one['test'][name]:.1f}" for name in names)
        mark = ", the found recipe" if one["found"] else ""
        lines.append(f"Front point {one['point']}, trial {one['trial']}{mark}: on test {test}.")
    rival = front.get("rival")
    if rival is not None:
        gap = rival["difference"]
        verdict = "covers more than" if gap["low"] > 0 else "is not shown to cover more than"
        lines.append(
            f"On test the front {verdict} that of the search without depth of equal budget: "
            f"hypervolume {rival['own']:.3f} against {rival['rival']:.3f} of "
            f"{len(rival['points'])} points, difference {gap['value']:+.3f} "
            f"[{gap['low']:+.3f}, {gap['high']:+.3f}]."
        )
    return lines


def front_so_far(trials: "Sequence[FrozenTrial]") -> str:
    """How many trials stand on the front of the selection split, and how much it covers."""
    from search.front import front_of, hypervolume

    found = front_of(trials)
    volume = hypervolume([trial.values for trial in found])
    return f"front of {len(found)}, hypervolume {volume:.3f}"
