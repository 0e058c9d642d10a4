"""What a search finds for its item evaluations: samplers, with and without racing, and the grid.

Run: python benchmarks/search.py [--situations ..] [--seeds 10] [--cases tpe,tpe+race] [--json F]

On the embedded zoo. The yardstick is the published grid of 58 points (arXiv:2502.13487) over
methods and global coefficients, every point scored on all selection items. Every other case gets
as many item evaluations as the grid; for each it is told how many it needed until the incumbent
(best on selection) reached the grid's score on the confirm split, and what its winner scores on
test. "evolve" is set up like mergekit-evolve: CMA-ES from the defaults, no racing, no warm start.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from objectives.records import combined
from search.points import solutions
from search.samplers import make_proposer, resolve_sampler
from search.selection import confirm
from search.warm_start import vlrm_58
from studies.demo.stage import stage_demo
from studies.engine_setup import make_engine
from studies.evaluator import Evaluator
from studies.ledger import SEARCH, Ledger
from studies.objectives_setup import make_objectives
from studies.racing import Racer, is_whole, saved
from studies.search_loop import Limits, SearchPlan, run_search
from studies.setup import StudyFile, identities, load_models, read_study
from studies.space_setup import make_space

CASES = ("random", "tpe", "gp", "cma", "auto")
ALL = (*(f"{name}{race}" for name in CASES for race in ("", "+race")), "evolve")
_TOP, _BLOCK, _ALPHA = 8, 40, 0.02
_GRID = {"method": ["linear", "task_arithmetic", "ties", "dare_linear", "dare_ties"]}


class _EnoughError(Exception):
    """The items are used up."""


@dataclass(slots=True)
class Run:
    """One search while it goes on: items used, and when the grid's confirm score was reached."""

    evaluator: Evaluator
    plan: SearchPlan
    items: int
    goal: float
    used: int = 0
    reached: int | None = None
    best: float = float("-inf")

    def on_trial(self, trial: FrozenTrial) -> None:
        """Count the trial's items; a new incumbent is scored on confirm (not counted)."""
        self.used += trial.user_attrs.get("stopped", self._all())
        if is_whole(trial) and (trial.value or 0.0) > self.best:
            self.best = trial.value or 0.0
            recipe = self.plan.space.decode(trial.params)
            score = combined(self.evaluator.score(recipe, "confirm").sets)
            if self.reached is None and score >= self.goal:
                self.reached = self.used
        if self.used >= self.items:
            raise _EnoughError

    def _all(self) -> int:
        return sum(len(o.examples("selection")) for o in self.evaluator.objectives)


def main() -> None:
    """Run all cases and print a table per situation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--situations", default="reasoning,preference,skills")
    parser.add_argument("--cases", default=",".join(ALL))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stage_demo(Path(folder), trials=1, seed=0)
        for situation in options.situations.split(","):
            for row in run_situation(Path(folder), situation, options.cases, options.seeds):
                rows.append(row)
                if options.json:
                    options.json.write_text(json.dumps(rows, indent=1) + "\n")
            show(situation, [row for row in rows if row["situation"] == situation])


def run_situation(
    folder: Path, situation: str, cases: str, seeds: int
) -> Iterator[dict[str, Any]]:
    """The grid once, then every case with every seed."""
    study = _study(folder, situation, grid=False)
    evaluator = _evaluator(study)
    grid = _run_grid(_study(folder, situation, grid=True), evaluator)
    yield {"situation": situation, "case": "grid of 58", "seed": 0, **grid}
    for case in cases.split(","):
        for seed in range(seeds):
            found = _run_case(study, evaluator, case, seed, grid)
            yield {"situation": situation, "case": case, "seed": seed, **found}


def _study(folder: Path, situation: str, *, grid: bool) -> StudyFile:
    """The demo's study of that name, by six bands; or the grid's, global and over methods."""
    yaml = YAML()
    content = yaml.load((folder / f"{situation}.yaml").read_text())
    for objective in content["objectives"]:
        objective.pop("task", None)
    content |= {"method": "task_arithmetic", "racing": {"block": _BLOCK}, "sampler": "tpe"}
    content["search"] = {"knobs": {"weight": [0.0, 1.5]}, "bands": 6}
    if grid:
        knobs = {"weight": [0.0, 1.5], "density": [0.1, 1.0]}
        content["search"] = {"knobs": knobs, "choices": dict(_GRID), "bands": 1}
    path = folder / f"bench-{situation}-{grid}.yaml"
    yaml.dump(content, path)
    return read_study(path)


def _evaluator(study: StudyFile) -> Evaluator:
    known = identities(study)
    objectives = make_objectives(study.config, study.folder)
    engine = make_engine(study, study.template.kept_from(), known)
    return Evaluator(load_models(study), objectives.main, study.out, known, {}, engine)


def _run_grid(study: StudyFile, evaluator: Evaluator) -> dict[str, Any]:
    space = make_space(study, evaluator.resident.layers, evaluator.resident.merged_names)
    assert not solutions(space)
    points = [point for point in vlrm_58(space) if point is not None]
    plan = SearchPlan(space, points, make_proposer("random", space.dimensions(), 0), "grid")
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder), SEARCH, space.dimensions())
        run_search(plan, ledger, evaluator, Limits(len(points), None), lambda _: None)
        return {"items": _items(evaluator) * len(points), **_outcome(plan, ledger, evaluator)}


def _run_case(
    study: StudyFile, evaluator: Evaluator, case: str, seed: int, grid: dict[str, Any]
) -> dict[str, Any]:
    space = make_space(study, evaluator.resident.layers, evaluator.resident.merged_names)
    dimensions, budget = space.dimensions(), grid["items"] // _items(evaluator)
    name, _, race = case.partition("+")
    sampler = resolve_sampler("cma" if name == "evolve" else name, dimensions, budget)
    blocks = evaluator.evaluation(evaluator.objectives).blocks("selection")
    racer = Racer(evaluator.objectives, blocks, "test", _ALPHA, _TOP) if race else None
    proposer = make_proposer(sampler, dimensions, seed, budget)
    plan = SearchPlan(space, [], proposer, sampler, racer)
    run = Run(evaluator, plan, grid["items"], grid["confirm"])
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder), SEARCH, dimensions)
        with suppress(_EnoughError):
            run_search(plan, ledger, evaluator, Limits(None, None), run.on_trial)
        told = _outcome(plan, ledger, evaluator)
        told |= {"items": run.used, "reached": run.reached, "racing": saved(ledger.trials)}
        return told | ({"wrong": _wrong_stops(plan, ledger, evaluator)} if race else {})


def _outcome(plan: SearchPlan, ledger: Ledger, evaluator: Evaluator) -> dict[str, Any]:
    """The winner on confirm, scored on test."""
    found = confirm(
        ledger.trials,
        _TOP,
        lambda t: evaluator.score(plan.space.decode(t.params), "confirm").sets,
    )
    recipe = plan.space.decode(found[0].trial.params)
    test = combined(evaluator.score(recipe, "test", why="benchmark").sets)
    return {"trials": len(ledger.trials), "confirm": found[0].value(), "test": test}


def _wrong_stops(plan: SearchPlan, ledger: Ledger, evaluator: Evaluator) -> dict[str, int]:
    """How many of the true best five racing stopped: all stopped trials are scored in full."""
    scores = []
    for trial in ledger.trials:
        recipe = plan.space.decode(trial.params)
        whole = is_whole(trial)
        full = trial.value if whole else combined(evaluator.score(recipe, "selection").sets)
        scores.append((full or 0.0, whole))
    best = sorted(scores, reverse=True)[:5]
    return {"stopped_of_best_5": sum(not whole for _, whole in best), "of": len(best)}


def _items(evaluator: Evaluator) -> int:
    return sum(len(o.examples("selection")) for o in evaluator.objectives)


def show(situation: str, rows: list[dict[str, Any]]) -> None:
    """Medians over seeds."""
    grid = rows[0]
    title = f"{situation}: grid {grid['items']:,} items, confirm {grid['confirm']:.3f}"
    table = Table(title=title)
    for name in (
        "case",
        "seeds",
        "test, median",
        "worst",
        "best",
        "reached grid",
        "items, share",
        "trials",
        "saved",
        "wrong",
    ):
        table.add_column(name, justify="right")
    for case in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == case]
        tests = sorted(row["test"] for row in own)
        reached = [row.get("reached") or float("inf") for row in own]
        share = statistics.median(reached) / grid["items"]
        racing = [row["racing"] for row in own if row.get("racing", {}).get("items")]
        spared = [1 - r["items_scored"] / r["items"] for r in racing]
        wrong = [row["wrong"]["stopped_of_best_5"] for row in own if "wrong" in row]
        table.add_row(
            case,
            str(len(own)),
            f"{statistics.median(tests):.3f}",
            f"{tests[0]:.3f}",
            f"{tests[-1]:.3f}",
            f"{sum(r < float('inf') for r in reached)}/{len(own)}",
            f"{share:.2f}",
            f"{statistics.median(row['trials'] for row in own):.0f}",
            f"{statistics.fmean(spared):.0%}" if spared else "-",
            f"{sum(wrong)}/{5 * len(wrong)}" if wrong else "-",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
