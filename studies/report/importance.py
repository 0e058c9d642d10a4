"""Which coordinates of a search decided its scores, and what chance alone would have shown."""

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.feasibility import value_of

_FEWEST = 30  # trials: the best tenth of them are three
_MOST = 500  # trials that are looked at; more only take time
_SHUFFLES = 20


@dataclass(frozen=True, slots=True)
class Importance:
    """What each coordinate decided.

    Attributes:
        shares: of all importance, by coordinate, the largest first; empty if it cannot be told.
        chance: the largest share that a coordinate has in 19 of 20 shuffles of the scores.
        trials: how many it is made of.
        why_not: why it cannot be told, or an empty string.
    """

    shares: Mapping[str, float]
    chance: float
    trials: int
    why_not: str = ""

    def told(self) -> list[str]:
        """The coordinates that stand out from chance."""
        return [name for name, share in self.shares.items() if share > self.chance]


def importance(trials: Sequence[FrozenTrial]) -> Importance:
    """By PED-ANOVA (Watanabe et al., arXiv:2304.10255): where the best tenth of the trials differ.

    The raw divergences of the scores as they are and of shuffled ones are put on one scale, so
    that what nothing but luck decided does not look important.
    """
    scored = [t for t in trials if value_of(t) is not None and t.params]
    step = -(-len(scored) // _MOST) if scored else 1
    chosen = scored[::step]
    values = [value_of(t) or 0.0 for t in chosen]
    if len(chosen) < _FEWEST:
        return Importance({}, 0.0, len(chosen), _why(len(chosen), "trials that have a score"))
    if max(values) - min(values) < 1e-12:
        return Importance({}, 0.0, len(chosen), "all trials have the same score")
    study = _copied(chosen)
    found = _divergences(study, values)
    total = sum(found.values())
    if total <= 0:
        return Importance({}, 0.0, len(chosen), "the best trials lie where all others lie")
    draw, largest = random.Random(0), []
    for _ in range(_SHUFFLES if len(chosen) <= _MOST // 2 else _SHUFFLES // 2):
        shuffled = draw.sample(values, len(values))
        largest.append(max(_divergences(study, shuffled).values()))
    chance = sorted(largest)[int(0.95 * (len(largest) - 1))] / total
    shares = {name: value / total for name, value in found.items()}
    ordered = dict(sorted(shares.items(), key=lambda pair: -pair[1]))
    return Importance(ordered, chance, len(chosen))


def _why(count: int, what: str) -> str:
    return f"it takes at least {_FEWEST} {what}, and there are {count}"


def _copied(trials: Sequence[FrozenTrial]) -> optuna.Study:
    """A study in memory of these trials, numbered anew."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            create_trial(
                state=TrialState.COMPLETE,
                value=0.0,
                params=trial.params,
                distributions=trial.distributions,
            )
            for trial in trials
        ]
    )
    return study


def _divergences(study: optuna.Study, values: Sequence[float]) -> dict[str, float]:
    """Pearson divergence of the best tenth from all trials, by coordinate."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it takes the lowest for the best
        found = get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(),
            target=lambda trial: -values[trial.number],
            normalize=False,
        )
    return {name: max(0.0, float(value)) for name, value in found.items()}


def grouped(shares: Mapping[str, float], group: Mapping[str, str]) -> dict[str, float]:
    """Sums over groups of coordinates, the largest first."""
    sums: dict[str, float] = {}
    for name, share in shares.items():
        sums[group[name]] = sums.get(group[name], 0.0) + share
    return dict(sorted(sums.items(), key=lambda pair: -pair[1]))
