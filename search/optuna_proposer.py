"""Optuna's samplers as proposers."""

from collections.abc import Callable, Sequence
from copy import copy

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from merge_ops.registry import Value
from search.dimension import Choice, Coordinate
from search.in_flight import Pending, serial_of
from search.proposer import Proposal, derived_seed

optuna.logging.set_verbosity(optuna.logging.WARNING)

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

    The sampler sees a study in memory that holds copies of the trials, in the order in which
    they were proposed: suggesting a point writes nothing to the ledger. Points in flight are
    running trials there, which TPE takes for bad ones (constant liar) and a Gaussian process for
    what it expects of them, so that workers do not crowd. The trials there share points with the
    ledger's and hold nothing else, so that they take little room.
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
        self._running: dict[int, int] = {}

    def propose(self, trials: Sequence[FrozenTrial], pending: Sequence[Pending] = ()) -> Proposal:
        """The sampler's suggestion after `trials`, beside the points in flight."""
        self._learn(trials[self._seen :], pending)
        self._seen = len(trials)
        count = len(trials) + len(pending)
        self._study.sampler = self._make(derived_seed(self._seed, count))
        trial = self._study.ask(self._distributions)
        values = dict(trial.params)
        self._study.tell(trial, state=TrialState.FAIL)  # samplers pass over failed trials
        _fill(self._last(), {}, {})
        return Proposal(values)

    def _learn(self, finished: Sequence[FrozenTrial], pending: Sequence[Pending]) -> None:
        """Bring the study in memory up to date; its trials stand in the order of proposals."""
        told = [(serial_of(t), t) for t in finished]
        known = {serial for serial, _ in told} | self._running.keys()
        begun = [(p.serial, self._begun(p)) for p in pending if p.serial not in known]
        for serial, trial in sorted([*told, *begun], key=lambda pair: pair[0]):
            if serial in self._running:
                self._end(self._running.pop(serial), trial)
                continue
            self._add(trial)
            if trial.state is TrialState.RUNNING:
                self._running[serial] = self._last().number

    def _add(self, trial: FrozenTrial) -> None:
        """Optuna copies what it is given deeply: it is given an empty trial, then the point."""
        empty = copy(trial)
        empty.user_attrs = {}
        _fill(empty, {}, {})
        self._study.add_trial(empty)
        _fill(self._last(), trial.params, trial.distributions)

    def _last(self) -> FrozenTrial:
        """The study's own last trial, no copy of it."""
        return self._study.get_trials(deepcopy=False)[-1]

    def _begun(self, point: Pending) -> FrozenTrial:
        return create_trial(
            state=TrialState.RUNNING,
            params=dict(point.values),
            distributions={k: self._distributions[k] for k in point.values},
        )

    def _end(self, number: int, trial: FrozenTrial) -> None:
        """A running trial of the study in memory has the outcome of a finished one."""
        running = Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)
        for name, value in trial.constraints.items():
            running.set_constraint(name, value)
        values = trial.values if trial.state is TrialState.COMPLETE else None
        self._study.tell(running, values, state=trial.state)


def _fill(
    trial: FrozenTrial, values: dict[str, Value], kinds: dict[str, BaseDistribution]
) -> None:
    trial.params, trial.distributions = values, kinds
