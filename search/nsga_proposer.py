"""NSGA-II (Optuna) as a proposer: its generations are rebuilt by asking for them again."""

from collections.abc import Sequence

import optuna
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, Trial, TrialState

from search.dimension import Coordinate
from search.optuna_proposer import distribution
from search.proposer import Proposal, derived_seed

PLACE = "nsga_place"


class NsgaProposer:
    """Deb's genetic algorithm with non-dominated sorting, for one objective or several.

    Optuna's sampler keeps generations in the attributes of its own trials, which a ledger of
    whole trials does not hold. A proposer made anew therefore asks for all its points again, in
    order, and tells their scores: the generator stands where it stood.
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
        self._seen = 0
        self._asked: Trial | None = None
        self._count = 0

    def propose(self, trials: Sequence[FrozenTrial]) -> Proposal:
        """The next member of the current generation."""
        for trial in trials[self._seen :]:
            if PLACE in trial.user_attrs:
                self._tell(trial)
            else:
                self._study.add_trial(trial)
        self._seen = len(trials)
        asked = self._ask()
        return Proposal(dict(asked.params), {PLACE: self._count - 1})

    def _ask(self) -> Trial:
        """The pending point, or a new one."""
        if self._asked is None:
            self._asked = self._study.ask(self._distributions)
            self._count += 1
        return self._asked

    def _tell(self, trial: FrozenTrial) -> None:
        asked, self._asked = self._ask(), None
        if dict(asked.params) != trial.params:  # proposed for another budget: another population
            self._study.tell(asked, state=TrialState.FAIL)
            self._study.add_trial(trial)
        elif trial.state is TrialState.COMPLETE:
            for name, value in trial.constraints.items():
                asked.set_constraint(name, value)
            self._study.tell(asked, trial.values)
        else:
            self._study.tell(asked, state=TrialState.FAIL)
