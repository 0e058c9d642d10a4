"""What is said of guards: in the results of a study, and of a single trial."""

from collections.abc import Mapping
from typing import Any


def guard_sentences(results: Mapping[str, Any]) -> list[str]:
    """How the found recipe stands to each guard, or that no candidate holds them."""
    guards, winner = results.get("guards", {}), results["winner"]
    if not guards:
        return []
    sentences = []
    if not winner["feasible"]:
        sentences.append(
            f"No candidate holds the guards: of {len(results['finalists'])} that were scored on "
            f"confirm none does. The found recipe, trial {winner['trial']}, breaks them least."
        )
    for name, text in guards.items():
        found = winner["guards"][name]
        sentences.append(
            f"Guard {text}: the found recipe {_verb(found['confirm'])} on confirm "
            f"({limits(found['confirm'])}), and {_verb(found['selection'])} on selection "
            f"({limits(found['selection'])})."
        )
    kept = sum(one["feasible"] for one in results["finalists"])
    sentences.append(
        f"All guards hold for {kept} of the {len(results['finalists'])} finalists on confirm and "
        f"for {results['feasible_trials']} of {results['trials']} trials on selection."
    )
    return sentences


def limits(found: Mapping[str, Any]) -> str:
    """The interval on which a guard was decided, in per cent or points."""
    own = found["interval"]
    value, low, high = (100 * own[key] for key in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _verb(found: Mapping[str, Any]) -> str:
    return {"holds": "holds it", "violated": "breaks it"}.get(
        found["standing"], "leaves it undecided"
    )
