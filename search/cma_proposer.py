"""CMA-ES (pycma) as a proposer: generations are rebuilt from the trials, nothing else is kept."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.dimension import Choice, Coordinate, Point
from search.feasibility import feasible, order, violation
from search.proposer import Proposal, derived_seed, unit_to_value, value_to_unit

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

GENERATION, MEMBER = "cma_generation", "cma_member"
_FULL_UP_TO, _DIAGONAL_ABOVE = 60, 200
"""Dimensions up to which a full covariance is learnt in time; beyond, a diagonal and one direction
(VkD: Akimoto and Hansen, GECCO 2016); beyond the second, a diagonal alone."""
_INJECTED = 2  # warm starts besides the best that the first generation holds


class CmaProposer:
    """Hansen's CMA-ES on the unit cube, maximising.

    The search begins at the best trial that it did not propose itself (the warm starts), else at
    the dimensions' defaults; the next best are injected into the first generation. When it has
    converged it begins again at the best trial with twice the population (after IPOP: Auger and
    Hansen, CEC 2005). Trials carry their generation and place in it; a complete generation
    is told to the strategy, members that break constraints as worse than those that keep them,
    the more the worse, and a failed one as worse than all others.

    A list of values is one coordinate, cut into as many equal parts as there are values, in their
    order; its deviation is kept wide enough to leave a part about once in twenty draws. Values
    behind worse ones are seldom found (docs/log.md).
    """

    def __init__(
        self,
        dimensions: Sequence[Coordinate],
        seed: int,
        sigma: float = 0.2,
        population: int | None = None,
    ) -> None:
        """Args: `sigma` is the first step size, as a share of each dimension's interval."""
        self._dimensions = list(dimensions)
        self._seed = seed
        self._sigma = sigma
        self._population = population or 4 + int(3 * math.log(len(self._dimensions)))
        self._strategy: Any = None
        self._generation = 0
        self._members: list[NDArray[np.float64]] = []
        self._best: tuple[tuple[float, float], list[float]] | None = None

    def propose(self, trials: Sequence["FrozenTrial"]) -> Proposal:
        """The next member of the current generation."""
        own = {
            (t.user_attrs[GENERATION], t.user_attrs[MEMBER]): t
            for t in trials
            if GENERATION in t.user_attrs
        }
        if self._strategy is None:
            self._start([t for t in trials if GENERATION not in t.user_attrs])
        while True:
            scored = [own.get((self._generation, i)) for i in range(len(self._members))]
            if None in scored:
                break
            self._tell([t for t in scored if t is not None])
        place = scored.index(None)
        units = zip(self._dimensions, self._members[place], strict=True)
        values = {d.name: unit_to_value(d, float(u)) for d, u in units}
        return Proposal(values, {GENERATION: self._generation, MEMBER: place})

    def _start(self, others: Sequence["FrozenTrial"]) -> None:
        """Begin at the best trial that others proposed; the next best are tried first of all."""
        known = sorted((t for t in others if t.value is not None), key=order)
        points = [self._units(t.params) for t in known]
        self._best = (order(known[0])[:2], points[0]) if known else None
        self._begin(
            points[0] if points else self._units({d.name: d.default for d in self._dimensions})
        )
        if points[1 : 1 + _INJECTED]:
            self._strategy.inject(points[1 : 1 + _INJECTED])
        self._ask()

    def _begin(self, start: Sequence[float]) -> None:
        """A strategy of the present population; its random numbers are the generation's own."""
        import cma

        count = len(self._dimensions)
        random = np.random.default_rng(derived_seed(self._seed, "cma", self._generation))
        options: dict[str, Any] = {
            "bounds": [0, 1],
            "popsize": self._population,
            "minstd": [_least_deviation(d) for d in self._dimensions],
            "CMA_diagonal": count > _DIAGONAL_ABOVE,
            "seed": math.nan,  # pycma then leaves numpy's global generator alone
            "randn": lambda *shape: random.standard_normal(shape),
            "verbose": -9,
            "verb_log": 0,
            "signals_filename": "",
        }
        if _FULL_UP_TO < count <= _DIAGONAL_ABOVE:
            from cma.restricted_gaussian_sampler import GaussVkDSampler

            options = GaussVkDSampler.extend_cma_options(options)
            options["CMA_sampler_options"] = {"randn": options["randn"]}  # else numpy's global one
        self._strategy = cma.CMAEvolutionStrategy(start, self._sigma, options)

    def _ask(self) -> None:
        self._members = [np.array(x, dtype=float) for x in self._strategy.ask()]

    def _units(self, point: Point) -> list[float]:
        return [value_to_unit(d, point[d.name]) for d in self._dimensions]

    def _tell(self, scored: Sequence["FrozenTrial"]) -> None:
        """End a generation; where the strategy has converged, begin anew with twice as many."""
        self._strategy.tell(self._members, _losses(scored))
        self._generation += 1
        for trial in scored:
            key = order(trial)[:2]
            if trial.value is not None and (self._best is None or key < self._best[0]):
                self._best = (key, self._units(trial.params))
        if self._strategy.stop() and self._best is not None:
            self._population *= 2
            self._begin(self._best[1])
        self._ask()


def _losses(scored: Sequence["FrozenTrial"]) -> list[float]:
    """What the strategy ranks: minus the score, then by how much constraints break, then failures.

    Each kind is worse than all of the kind before.
    """
    kept = [-t.value for t in scored if t.value is not None and feasible(t)]
    broken = max(kept, default=0.0)
    known = [
        None if t.value is None else -t.value if feasible(t) else broken + violation(t)
        for t in scored
    ]
    worst = max((loss for loss in known if loss is not None), default=0.0)
    return [worst + 1.0 if loss is None else loss for loss in known]


def _least_deviation(dimension: Coordinate) -> float:
    """Half of a part lies two deviations away from its middle: 5 % of the draws leave it."""
    return 0.25 / len(dimension.values) if isinstance(dimension, Choice) else 0.0
