"""From coarse to fine: a search whose bands are tied at first, and cut where confirm agrees.

The ledger's trials are points of the finest space all the time; a stage ties neighbouring bands,
so trials of coarser stages are trials of every finer one, with equal values where the cut is.
Stages end after so many trials. Then it is decided, on the confirm split, by paired comparisons:

- whether the last cut stays: it does if the best trial (on selection) whose two halves differ is
  better than the best one with equal halves, on selection, and on confirm too;
- which run of bands is cut next: the one by which confirm tells the two best trials apart most,
  each run's values of the second put into the first.

With several points in flight a stage asks for no more points than it has, and is judged when all
of them are told: a decision never depends on a late result.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from objectives.records import ScoreSet
from objectives.statistics import Interval, paired_difference
from search.depth import Depth, even_bands
from search.dimension import Coordinate, Point
from search.feasibility import in_full
from search.in_flight import Pending
from search.proposer import Proposal, Proposer
from search.space import SearchSpace
from search.stage import STAGE, Stage, stage_in
from search.stage_trials import StageTrials
from search.tying import Tied, columns_of, tied

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class RefiningProposer:
    """Lets a sampler search the stage's space, and goes on to the next stage.

    Which stage it is, the trials tell; what is scored on confirm is the same whenever it is asked
    for. So a search that was killed goes on with the stages that it would have had.
    """

    def __init__(
        self,
        space: SearchSpace,
        start: int,
        every: int,
        make: Callable[[Sequence[Coordinate], int], Proposer],
        confirm: Callable[[Point], Sequence[ScoreSet]],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin before the first stage.

        Args:
            space: the finest, with bands.
            start: runs of the first stage, fewer than bands.
            every: trials of a stage.
            make: the sampler of a stage, given its dimensions and number.
            confirm: scores a point of `space` on the confirm split.
            tell: is told each decision in a line.
        """
        self._space, self._every, self._make, self._tell = space, every, make, tell
        self._first = even_bands(space.depth.places, start).edges
        self._score = confirm
        self._known: dict[int, Sequence[ScoreSet]] = {}
        self._now: Stage | None = None
        self._own = StageTrials(Tied(()), 0)
        self._sampler: Proposer | None = None

    def propose(
        self, trials: Sequence["FrozenTrial"], pending: Sequence[Pending] = ()
    ) -> Proposal | None:
        """The next point of the present stage, or the first of the next.

        None too while the last points of a stage are in flight.
        """
        stage = self._stage(trials, pending)
        if stage is None:
            return None
        if stage != self._now or self._sampler is None:
            self._now, self._own = stage, StageTrials(self._tied(stage), stage.number)
            self._sampler = self._make(self._own.tied.dimensions, stage.number)
        found = self._sampler.propose(self._own.finished(trials), self._own.flying(pending))
        if found is None:
            return None
        tags = {f"{stage.number}.{key}": value for key, value in found.tags.items()}
        return Proposal(self._own.tied.spread(found.values), {**tags, **stage.tags()})

    def _tied(self, stage: Stage) -> Tied:
        return tied(self._space, self._runs(stage))

    def _runs(self, stage: Stage) -> Depth:
        return Depth(self._space.depth.places, stage.edges)

    def _stage(self, trials: Sequence["FrozenTrial"], pending: Sequence[Pending]) -> Stage | None:
        """The stage of the next trial; None while it depends on points in flight."""
        begun = [*(t.user_attrs for t in trials), *(p.tags for p in pending)]
        last = next((s for tags in reversed(begun) if (s := stage_in(tags)) is not None), None)
        if last is None:
            return Stage(0, self._first)
        if self._now is not None and self._now.number > last.number:
            return self._now  # decided, and its first trial is not told yet
        own = sum(tags.get(STAGE) == last.number for tags in begun)
        if own < self._every or not (last.cut or self._open(last)):
            return last
        return None if pending else self._next(last, trials)

    def _next(self, last: Stage, trials: Sequence["FrozenTrial"]) -> Stage:
        """Judge the cut on trial, and make another one where one can be made."""
        judged = self._judged(last, trials) if last.cut else replace(last, gain=None)
        stage = replace(judged, number=last.number + 1, cut=0)
        bands = self._open(stage)
        if not bands:
            self._tell(f"stage {stage.number}: {self._words(stage)}; there is nothing more to cut")
            return stage
        band = self._most_telling(stage, bands, trials) if len(bands) > 1 else bands[0]
        runs = self._runs(stage).split(band, stage.refused)
        (cut,) = set(runs.edges) - set(stage.edges)
        self._tell(f"stage {stage.number}: {self._words(stage)}; cut at {self._layer(cut)}")
        return replace(stage, edges=runs.edges, cut=cut)

    def _judged(self, stage: Stage, trials: Sequence["FrozenTrial"]) -> Stage:
        """The stage with its cut, or without it."""
        parent = stage.without_cut()
        coarse = self._best(parent, trials)
        fine = self._best(stage, trials, but_not=parent)
        gap: Interval | None = None
        agreed = fine is not None
        if fine is not None and coarse is not None:
            agreed = (fine.value or 0.0) > (coarse.value or 0.0)
            if agreed:
                gap = paired_difference(self._confirm(fine), self._confirm(coarse))
                agreed = gap.value > 0
        where = f"stage {stage.number}: the cut at {self._layer(stage.cut)}"
        if gap is None:
            verdict = "was the first to score" if agreed else "won nothing on selection"
        else:
            points = [100 * x for x in (gap.value, gap.low, gap.high)]
            verdict = "{:+.1f} [{:+.1f}, {:+.1f}] points on confirm".format(*points)
        self._tell(f"{where} {'stays' if agreed else 'is undone'}: {verdict}")
        gain = None if gap is None else round(gap.value, 9)
        if agreed:
            return replace(stage, gain=gain)
        return replace(parent, refused=tuple(sorted((*stage.refused, stage.cut))), gain=gain)

    def _best(
        self, stage: Stage, trials: Sequence["FrozenTrial"], but_not: Stage | None = None
    ) -> "FrozenTrial | None":
        """The best trial on selection that a stage's space holds."""
        return next(iter(self._ranked(stage, trials, but_not)), None)

    def _ranked(
        self, stage: Stage, trials: Sequence["FrozenTrial"], but_not: Stage | None = None
    ) -> list["FrozenTrial"]:
        """All of them that were scored in full, the best first."""
        own, other = self._tied(stage), None if but_not is None else self._tied(but_not)
        held = [
            t
            for t in trials
            if in_full(t)
            and own.gather(t.params) is not None
            and (other is None or other.gather(t.params) is None)
        ]
        return sorted(held, key=lambda t: (-(t.value or 0.0), t.number))

    def _open(self, stage: Stage) -> list[int]:
        """Runs that can be cut where no cut was refused."""
        runs = self._runs(stage)
        return [i for i in range(runs.places) if runs.cuts(i, stage.refused)]

    def _most_telling(
        self, stage: Stage, bands: Sequence[int], trials: Sequence["FrozenTrial"]
    ) -> int:
        """The run by which confirm tells the two best trials apart most; else the longest."""
        one, runs = self._tied(stage), self._runs(stage)
        sizes = _sizes(runs)
        effects = dict.fromkeys(bands, 0.0)
        ranked = self._ranked(stage, trials)
        others = [t for t in ranked if t.params != ranked[0].params]
        for band in bands if others else ():
            best, first = ranked[0], runs.edges[band]
            columns = columns_of(self._space, one, range(first, first + sizes[band]))
            probe = one.moved(best.params, others[0].params, columns)
            if probe != best.params:
                gap = paired_difference(self._score(probe), self._confirm(best))
                effects[band] = abs(gap.value)
        return max(bands, key=lambda band: (effects[band], sizes[band], -band))

    def _confirm(self, trial: "FrozenTrial") -> Sequence[ScoreSet]:
        if trial.number not in self._known:
            self._known[trial.number] = self._score(trial.params)
        return self._known[trial.number]

    def _words(self, stage: Stage) -> str:
        firsts = [str(self._space.depth.edges[edge]) for edge in stage.edges]
        return f"bands from layer {', '.join(firsts)}"

    def _layer(self, cut: int) -> str:
        return f"layer {self._space.depth.edges[cut]}"


def _sizes(runs: Depth) -> list[int]:
    ends = (*runs.edges[1:], runs.layers)
    return [end - first for first, end in zip(runs.edges, ends, strict=True)]
