"""Selection scores without the luck of the best of many, from a study's folder alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from objectives.records import combined
from objectives.shrinkage import shrink
from search.feasibility import in_full, value_of
from search.front import is_front
from studies.about import score_sets
from studies.trial_facts import scores_of

_FEWEST, _MOST = 4, 200
_ROUNDING = 1e-6


def shrunken(about: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """What is believed of each wholly scored trial, by its number; see `objectives.shrinkage`.

    How much of the spread is noise is learnt from at most 200 trials, taken evenly. Empty where it
    cannot be told: fewer than four trials, a front, or a search that follows a smooth twin, whose
    scores are not those of its examples.

    Args:
        about: as `studies.about.read_about` gives it.
        trials: of one search.
    """
    known = {t.number: value_of(t) or 0.0 for t in trials if in_full(t)}
    if len(known) < _FEWEST or is_front(trials):
        return {}
    own = [t for t in trials if t.number in known]
    sample = own[:: -(-len(own) // _MOST)]
    lot = [score_sets(about, scores_of(t)) for t in (own if len(sample) < _FEWEST else sample)]
    sets = [one for one in lot if one]
    if len(sets) < _FEWEST or abs(combined(sets[0]) - known[sample[0].number]) > _ROUNDING:
        return {}
    kept = shrink(sets).kept
    mean = sum(known.values()) / len(known)
    return {number: mean + kept * (value - mean) for number, value in known.items()}
