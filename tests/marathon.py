"""A long search without a model, which says what memory it takes.

python -m tests.marathon FOLDER TRIALS EVERY SAMPLER RULE [mirrored]
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from optuna.trial import FrozenTrial
from psutil import Process

from merge_ops.recipe import Recipe, Source
from objectives.blocks import Ask, Block
from objectives.data import Example
from objectives.objective import Objective
from objectives.records import Average, ExampleScore, ScoreSet, Split, combined
from search.depth import even_bands
from search.modules import WHOLE
from search.racing import RACING
from search.samplers import make_proposer
from search.space import KnobRange, SearchSpace
from studies.budget import Limits
from studies.evaluator import Evaluator, Scored
from studies.half_scored import Part
from studies.interruption import Interruption
from studies.ledger import JOURNAL, SEARCH, Ledger
from studies.racing import Racer
from studies.search_loop import SearchPlan, run_search
from studies.tracking import Mirror
from studies.tracking_address import tracking_uri

ITEMS, BLOCKS, BANDS = 400, 4, 16
SIZE = ITEMS // BLOCKS
EXAMPLES = [Example(str(i), f"{i}?", (), {}, f"kind {i % 4}") for i in range(ITEMS)]


@dataclass(frozen=True, slots=True)
class Questions:
    """An objective that nobody asks."""

    name: str = "questions"
    average: Average = "micro"
    weight: float = 1.0

    def examples(self, _split: Split) -> Sequence[Example]:
        return EXAMPLES


@dataclass(frozen=True, slots=True)
class Cheap:
    """An evaluator whose scores follow from the recipe; blocks are kept as those of a real one."""

    folder: Path

    def digest(self, recipe: Recipe) -> str:
        return recipe.digest({"v": "1", "m": "2", "base": "3"})

    def signal(self, sets: Sequence[ScoreSet]) -> float:
        return combined(sets)

    def aims(self, _sets: Sequence[ScoreSet]) -> dict[str, float]:
        return {}

    def score(
        self,
        recipe: Recipe,
        _split: Split,
        *,
        stops: Callable[[int, tuple[ScoreSet, ...]], bool] | None,
        parts: Callable[[str], Part],
    ) -> Scored:
        digest = self.digest(recipe)
        luck = (hashlib.sha256(digest.encode()).digest() * ITEMS)[: 2 * ITEMS]
        part, found, sets = parts("selection"), list[ExampleScore](), tuple[ScoreSet, ...]()
        for block in range(BLOCKS):
            kept = part.get(block)
            if kept is None:
                own = range(block * SIZE, (block + 1) * SIZE)
                scores = [
                    ExampleScore(EXAMPLES[i].id, float(luck[i] > 100), EXAMPLES[i].category)
                    for i in own
                ]
                kept = (tuple(scores),)
                part.put(block, kept)
            found += kept[0]
            sets = (ScoreSet("questions", "micro", 1.0, tuple(found)),)
            if stops and stops(block, sets):
                break
        return Scored(sets, {"build": 0.001, "score": 0.002})


def space() -> SearchSpace:
    """Of 32 coordinates: two experts, sixteen bands."""
    template = Recipe("task_arithmetic", (Source("v"), Source("m")), "base", target="v")
    ranges = {"weight": KnobRange(0.0, 1.5)}
    return SearchSpace(template, ("vlm", "math"), ranges, even_bands(BANDS, BANDS), WHOLE)


def resident() -> int:
    """Bytes of main memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def march(
    folder: Path, trials: int, sampler: str, rule: str, on_trial: Callable[[Ledger], None]
) -> Ledger:
    """Run the search to its end, or go on with it."""
    one = space()
    ledger = Ledger(folder, SEARCH, one.dimensions())
    asks = [Ask(0, example, ()) for example in EXAMPLES]
    blocks = [Block("selection", i, tuple(asks[i * SIZE : (i + 1) * SIZE])) for i in range(BLOCKS)]
    racer = None
    if rule != "off":
        racer = Racer([cast(Objective, Questions())], blocks, cast(RACING, rule))
    proposer = make_proposer(sampler, one.dimensions(), 0, trials)
    plan = SearchPlan(one, [], proposer, sampler, racer)

    def told(_: FrozenTrial) -> None:
        on_trial(ledger)

    evaluator = cast(Evaluator, Cheap(folder))
    run_search(plan, ledger, evaluator, Limits(trials), Interruption(), told)
    return ledger


def main(out: str, trials: str, every: str, sampler: str, rule: str, mirrored: str = "") -> None:
    """Print one line of JSON: memory after so many trials, and what they take on the disk.

    Where trials are mirrored, the tracker's memory is counted too, after so many in the store.
    """
    folder, held = Path(out), dict[int, int]()
    current: list[Ledger] = []
    mirror = None
    if mirrored:
        uri = tracking_uri(None, folder.parent)
        mirror = Mirror(uri, "marathon", lambda: current[0].trials if current else [], {})
        mirror.start()

    def on_trial(ledger: Ledger) -> None:
        current[:] = [ledger]
        if mirror is not None:
            mirror.notify()
        elif len(ledger.trials) % int(every) == 0:
            held[len(ledger.trials)] = resident()

    folder.mkdir(parents=True, exist_ok=True)
    begun, cpu = time.monotonic(), time.process_time()
    march(folder, int(trials), sampler, rule, on_trial)
    if mirror is not None:  # which is slower than trials that are not scored
        for count in (int(every), int(trials)):
            while mirror.status().mirrored < count:
                time.sleep(0.05)
            held[count] = resident() + sum(c.memory_info().rss for c in Process().children())
        print(mirror.finish(600.0), file=sys.stderr)  # noqa: T201
    facts = {
        "held": held,
        "peak": max(
            *held.values(),
            *(t.user_attrs.get("memory", {}).get("host", 0) for t in current[0].trials),
        ),
        "journal": (folder / JOURNAL).stat().st_size,
        "seconds": time.monotonic() - begun,
        "cpu": time.process_time() - cpu,
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
