"""Optuna's samplers as proposers."""

from collections.abc import Callable, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search.dimension import Choice, Coordinate
from search.proposer import Proposal, derived_seed

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}


def distribution(dimension: Coordinate) -> BaseDistribution:
    """What Optuna calls a dimension: an interval, or a category for a list of values."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


class OptunaProposer:
    """Asks a sampler whose seed derives from (study's seed, trials so far).

    The sampler sees a study in memory that holds copies of the finished trials: suggesting a
    point writes nothing to the ledger.
    """

    def __init__(
        self, name: str, dimensions: Sequence[Coordinate], seed: int, objectives: int = 1
    ) -> None:
        """Args: `name` is a key of `SAMPLERS`; a trial has so many figures as `objectives`."""
        self._make = SAMPLERS[name]
        self._seed = seed
        self._distributions = {d.name: distribution(d) for d in dimensions}
        self._study = optuna.create_study(directions=["maximize"] * objectives)
        self._seen = 0

    def propose(self, trials: Sequence[FrozenTrial]) -> Proposal:
        """The sampler's suggestion after `trials`."""
        self._study.add_trials(trials[self._seen :])
        self._seen = len(trials)
        self._study.sampler = self._make(derived_seed(self._seed, len(trials)))
        trial = self._study.ask(self._distributions)
        self._study.tell(trial, state=TrialState.FAIL)  # samplers pass over failed trials
        return Proposal(dict(trial.params))
