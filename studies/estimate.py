"""How long a study will take: its work, as counted before it runs, times what was timed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from objectives.records import Split
from search.auto import suggestion_seconds
from studies.workload import Cost, SearchWork, Timings, Work, count, key_of

RECORD = 0.01  # seconds that a trial spends in the ledger, racing and progress, measured
WRITE, REPORT = 3.0, 2.0  # seconds for table and pictures, and for the report, on a slow core


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a study's time.

    Attributes:
        name: of the phase.
        seconds: that it takes.
        how: what it consists of, in words.
    """

    name: str
    seconds: float
    how: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a study will take, by phases.

    Attributes:
        phases: in their order.
        timings: what it was made from.
        notes: what it does not know, in words.
    """

    phases: Sequence[Phase]
    timings: Timings
    notes: Sequence[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of all phases."""
        return sum(phase.seconds for phase in self.phases)


def estimate(work: Work, timings: Timings, before: Sequence[Phase]) -> Estimate:
    """Add everything up.

    Args:
        work: what is to be done.
        timings: what candidates cost.
        before: the phases ahead of the first trial, which are timed as a whole.
    """
    main, cost = work.main, timings.costs[key_of(work.main)]
    room = work.cache
    kept = {}
    for split in ("selection", "confirm", "test"):  # in this order prompts fill the store
        needs = timings.bytes_per_example * count(main, split)
        kept[split] = min(1.0, room / needs) if needs else 1.0
        room = max(0, room - int(needs))
    phases = [*before, *_searches(work, timings, kept["selection"])]
    each = timings.build + _again(cost, "confirm", kept["confirm"])
    confirm = work.confirm * each + _extra(cost, "confirm")
    phases.append(Phase("confirm", confirm, f"{work.confirm} x {each:.3g} s"))
    phases.append(_test(work, timings, kept["test"]))
    ending = "recipe, table, pictures" + (", report" if work.report else "")
    phases.append(Phase("write", WRITE + REPORT * work.report, ending))
    notes = list(work.notes)
    if min(kept.values()) < 1:
        notes.append(
            f"captured prompts take {timings.bytes_per_example / 2**20:.2g} MiB an example, and "
            f"those of {100 * kept['selection']:.0f} % of the selection split fit into the caches "
            "of `runtime`; the others are made anew for each candidate"
        )
    return Estimate(phases, timings, notes)


def _searches(work: Work, timings: Timings, kept: float) -> list[Phase]:
    """Trials, each with its suggestion; a budget of time ends them earlier."""
    cost = timings.costs[key_of(work.main)]
    each = timings.build + _again(cost, "selection", kept) + RECORD
    begins = timings.warm_up + _extra(cost, "selection")
    phases: list[Phase] = []
    for i, search in enumerate(work.searches):
        left = None
        if work.timeout is not None:  # the first leaves its rival half
            left = work.timeout / (len(work.searches) - i) - sum(p.seconds for p in phases)
            left = max(left, work.timeout / len(work.searches))
        phases.append(_search(search, each, 0.0 if phases else begins, left))
    return phases


def _search(search: SearchWork, each: float, begins: float, left: float | None) -> Phase:
    """One search of so many seconds a trial, some more for the first, within the time left."""
    if search.trials is None:
        assert left is not None, "a budget without trials has a timeout"
        about = int(left / (each + _suggestion(search, search.finished)))
        return Phase(search.name, left, f"its timeout: about {about} trials x {each:.3g} s")
    last = search.finished + search.trials
    proposed = max(0, last - max(search.first_points, search.finished))
    suggest = _suggestion(search, last) * proposed
    seconds = search.trials * each + suggest + (begins if search.trials else 0.0)
    how = f"{search.trials} trials x {each:.3g} s"
    if search.finished:
        how += f" ({search.finished} are finished)"
    if suggest:
        how += f" + {suggest:.3g} s of suggestions by {search.sampler}"
    if left is not None and left < seconds:
        return Phase(search.name, left, f"ended by its timeout before {how}")
    return Phase(search.name, seconds, how)


def _suggestion(search: SearchWork, last: int) -> float:
    """Mean seconds up to a trial; samplers grow slower with the trials they have seen."""
    points = [search.finished + (last - search.finished) * i // 4 for i in range(5)]
    every = [suggestion_seconds(search.sampler, search.dimensions, n) for n in points]
    return sum(every) / len(every)


def _test(work: Work, timings: Timings, kept: float) -> Phase:
    """Every row once; the first of those that are scored alike reads the prompts."""
    seconds, seen = 0.0, set[tuple[int, ...]]()
    for objectives in work.rows:
        key = key_of(objectives)
        cost = timings.costs[key]
        seconds += timings.build + _again(cost, "test", kept)
        seconds += 0.0 if key in seen else _extra(cost, "test")
        seen.add(key)
    return Phase("test", seconds, f"{len(work.rows)} rows on {count(work.main, 'test')} examples")


def _again(cost: Cost, split: Split, kept: float) -> float:
    """Seconds to score a later candidate, `kept` being the share of prompts that are held."""
    return sum(
        count(part.objectives, split) * (kept * part.again + (1 - kept) * part.first)
        for part in cost
    )


def _extra(cost: Cost, split: Split) -> float:
    """Seconds that the first candidate takes longer, for it reads the prompts."""
    return sum(count(part.objectives, split) * (part.first - part.again) for part in cost)
