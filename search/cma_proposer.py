"""CMA-ES (pycma) as a proposer: generations are rebuilt from the trials, nothing else is kept."""

import math
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.dimension import Choice, Coordinate, Point
from search.feasibility import feasible, order, violation
from search.in_flight import Pending
from search.proposer import Proposal, derived_seed, unit_to_value, value_to_unit

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

GENERATION, MEMBER, BEGUN = "cma_generation", "cma_member", "cma_begun"
_FULL_UP_TO, _DIAGONAL_ABOVE = 60, 200
"""Dimensions up to which a full covariance is learnt in time; beyond, a diagonal and one direction
(VkD: Akimoto and Hansen, GECCO 2016); beyond the second, a diagonal alone."""
_INJECTED = 2  # warm starts besides the best that the first generation holds


class CmaProposer:
    """Hansen's CMA-ES on the unit cube, maximising.

    The search begins at the best trial that it did not propose itself (the warm starts), else at
    the dimensions' defaults; the next best are injected into the first generation. When it has
    converged it begins again at the best trial with twice the population (after IPOP: Auger and
    Hansen, CEC 2005). Trials carry their generation and place in it. A generation ends when as
    many results as it has members have arrived, and is told to the strategy: members that break
    constraints as worse than those that keep them, the more the worse, and failed ones as worse
    than all others.

    With several points in flight a generation is asked for more members than it needs, so that
    nobody waits. A late result, drawn from an earlier generation, counts in the one in which it
    arrives, as an injected solution: its step is cut to a usual length (Hansen, Injecting external
    solutions into CMA-ES, arXiv:1110.4181). One at a time, no result is late.

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
        self._random = np.random.default_rng(0)
        self._generation = 0
        self._begun = 0
        self._seen = 0
        self._places: dict[int, set[int]] = {}
        self._drawn: dict[tuple[int, int], NDArray[np.float64]] = {}
        self._arrived: list[FrozenTrial] = []
        self._best: tuple[tuple[float, float], list[float]] | None = None

    def propose(
        self, trials: Sequence["FrozenTrial"], pending: Sequence[Pending] = ()
    ) -> Proposal:
        """The next member of the current generation."""
        new = trials[self._seen :]
        asked = [*(t.user_attrs for t in new), *(p.tags for p in pending)]
        asked = [tags for tags in asked if GENERATION in tags]
        for tags in asked:
            self._places.setdefault(tags[GENERATION], set()).add(tags[MEMBER])
        if self._strategy is None:
            whole = next((i for i, t in enumerate(new) if GENERATION in t.user_attrs), len(new))
            self._begun = asked[0].get(BEGUN, whole) if asked else whole
            self._start([t for t in new[: self._begun] if GENERATION not in t.user_attrs])
        for trial in new:
            self._learn(trial)
        self._seen = len(trials)
        place = next(i for i in count() if i not in self._places.get(self._generation, ()))
        units = zip(self._dimensions, self._member(self._generation, place), strict=True)
        values = {d.name: unit_to_value(d, float(u)) for d, u in units}
        tags = {GENERATION: self._generation, MEMBER: place, BEGUN: self._begun}
        return Proposal(values, tags)

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

        size = len(self._dimensions)
        self._random = self._numbers("cma", self._generation)
        options: dict[str, Any] = {
            "bounds": [0, 1],
            "popsize": self._population,
            "minstd": [_least_deviation(d) for d in self._dimensions],
            "CMA_diagonal": size > _DIAGONAL_ABOVE,
            "seed": math.nan,  # pycma then leaves numpy's global generator alone
            "randn": lambda *shape: self._random.standard_normal(shape),
            "verbose": -9,
            "verb_log": 0,
            "signals_filename": "",
        }
        if _FULL_UP_TO < size <= _DIAGONAL_ABOVE:
            from cma.restricted_gaussian_sampler import GaussVkDSampler

            options = GaussVkDSampler.extend_cma_options(options)
            options["CMA_sampler_options"] = {"randn": options["randn"]}  # else numpy's global one
        self._strategy = cma.CMAEvolutionStrategy(start, self._sigma, options)

    def _ask(self) -> None:
        """Draw the members of a generation, and those beyond its size that were proposed."""
        members = [np.array(x, dtype=float) for x in self._strategy.ask()]
        self._drawn |= {(self._generation, i): x for i, x in enumerate(members)}
        for place in sorted(self._places.get(self._generation, ())):
            self._member(self._generation, place)

    def _member(self, generation: int, place: int) -> NDArray[np.float64]:
        """A member; one beyond the size of its generation has random numbers of its own."""
        key = (generation, place)
        if key not in self._drawn:
            own, self._random = self._random, self._numbers("cma extra", *key)
            self._drawn[key] = np.array(self._strategy.ask(1)[0], dtype=float)
            self._random = own
        return self._drawn[key]

    def _numbers(self, *address: int | str) -> np.random.Generator:
        return np.random.default_rng(derived_seed(self._seed, *address))

    def _units(self, point: Point) -> list[float]:
        return [value_to_unit(d, point[d.name]) for d in self._dimensions]

    def _learn(self, trial: "FrozenTrial") -> None:
        """Count one result; the last one of a generation ends it."""
        if GENERATION in trial.user_attrs:
            self._arrived.append(trial)
        if len(self._arrived) == self._population:
            scored, self._arrived = self._arrived, []
            self._tell(scored)

    def _tell(self, scored: Sequence["FrozenTrial"]) -> None:
        """End a generation; where the strategy has converged, begin anew with twice as many."""
        keys = [(t.user_attrs[GENERATION], t.user_attrs[MEMBER]) for t in scored]
        late = [i for i, (generation, _) in enumerate(keys) if generation < self._generation]
        members = [self._drawn.pop(key) for key in keys]
        self._strategy.tell(members, _losses(scored), check_points=late or None)
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
