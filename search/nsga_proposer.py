"""NSGA-II (Optuna) as a proposer: its generations are rebuilt by asking for them again."""

from collections.abc import Sequence

import optuna
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, Trial, TrialState

from search.dimension import Coordinate
from search.in_flight import Pending, after_of
from search.optuna_proposer import distribution
from search.proposer import Proposal, derived_seed

PLACE = "nsga_place"


class NsgaProposer:
    """Deb's genetic algorithm with non-dominated sorting, for one objective or several.

    Optuna's sampler keeps generations in the attributes of its own trials, which a ledger of
    whole trials does not hold. A proposer made anew therefore asks for all its points again,
    each after the trials that were finished then, and tells their scores: the generator stands
    where it stood. Points in flight are running trials to it: a generation ends when enough are
    scored, and a late result counts in the generation in which its point was proposed.
    """

    def __init__(
        self, dimensions: Sequence[Coordinate], seed: int, budget: int | None, objectives: int = 1
    ) -> None:
        """Args: about eight generations fit the `budget`, of 8 to 50 members each."""
        population = min(max((budget or 400) // 8, 8), 50)
        self._study = optuna.create_study(
            directions=["maximize"] * objectives,
            sampler=NSGAIISampler(population_size=population, seed=derived_seed(seed, "nsga2")),
        )
        self._distributions = {d.name: distribution(d) for d in dimensions}
        self._told = 0
        self._asked: list[Trial | None] = []  # by their place; those that were told are let go

    def propose(self, trials: Sequence[FrozenTrial], pending: Sequence[Pending] = ()) -> Proposal:
        """The next member of the current generation."""
        begun = {t.user_attrs[PLACE]: after_of(t) for t in trials if PLACE in t.user_attrs}
        begun |= {p.tags[PLACE]: p.after for p in pending if PLACE in p.tags}
        place = len(begun)
        for earlier in range(len(self._asked), place):
            self._tell(trials, begun[earlier])
            self._ask()
        self._tell(trials, len(trials))
        if place == len(self._asked):
            self._ask()
        asked = self._asked[place]
        assert asked is not None, "a point in flight has not been told"
        return Proposal(dict(asked.params), {PLACE: place})

    def _ask(self) -> None:
        self._asked.append(self._study.ask(self._distributions))

    def _tell(self, trials: Sequence[FrozenTrial], count: int) -> None:
        """Let the generator know of the first `count` results."""
        for trial in trials[self._told : count]:
            if PLACE not in trial.user_attrs:
                self._study.add_trial(trial)
            else:
                self._finish(trial.user_attrs[PLACE], trial)
        self._told = max(self._told, count)

    def _finish(self, place: int, trial: FrozenTrial) -> None:
        """Tell one of its own points' result."""
        asked, self._asked[place] = self._asked[place], None
        assert asked is not None, "a result is told once"
        if dict(asked.params) != trial.params:  # proposed for another budget: another population
            self._study.tell(asked, state=TrialState.FAIL)
            self._study.add_trial(trial)
            return
        if trial.state is not TrialState.COMPLETE:
            self._study.tell(asked, state=TrialState.FAIL)
            return
        for name, value in trial.constraints.items():
            asked.set_constraint(name, value)
        self._study.tell(asked, trial.values)
