"""What a search finds for its item evaluations: samplers, with and without racing, and the grid.

Run: python benchmarks/search.py [--situations ..] [--seeds 10] [--cases tpe,tpe+race] --json F
     python benchmarks/search.py --show F [F ...]      (the tables of docs/benchmarks.md)
     python benchmarks/search.py --overhead 1000x40    (what the study itself costs per trial)

On the embedded zoo. The yardstick is the published grid of 58 points (arXiv:2502.13487) over
methods and global coefficients, every point scored on all selection items. Every other case gets
as many item evaluations as the grid; for each it is told how many it needed until the incumbent
(best on selection) reached the grid's score on the confirm split, and what its winner scores on
test. Cases begin with the study's own first points (`anchors`); "evolve" is set up like
mergekit-evolve: CMA-ES from the defaults, no racing, no warm start. "auto" is a Gaussian process
here, so "gp" is left out unless it is asked for. "global" searches one
coefficient per expert for all depths, by `auto`, and scores every item.

Every recipe is scored once in a process and then looked up, so items are counted, not timed. A run
that was stopped goes on where its file ends.
"""

import argparse
import json
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from optuna.trial import FrozenTrial
from overhead import overhead
from racing_bound import saved_at_most
from replayed_scores import ReplayedScores, bits, strata
from ruamel.yaml import YAML
from sampling_figure import draw_differences
from sampling_tables import tables

from merge_ops.atomic import write_text
from objectives.records import combined
from search.points import solutions
from search.racing import STOPPED
from search.samplers import make_proposer, resolve_sampler
from search.selection import confirm
from search.space import SearchSpace
from search.warm_start import vlrm_58, warm_points
from studies.budget import Limits
from studies.demo.data import write_data
from studies.demo.stage import stage_demo
from studies.engine_setup import make_engine
from studies.evaluator import Evaluator
from studies.interruption import Interruption
from studies.ledger import SEARCH, Ledger
from studies.model_setup import load_models
from studies.objectives_setup import make_objectives
from studies.racing import Racer, is_whole, saved
from studies.search_loop import SearchPlan, run_search
from studies.setup import StudyFile, identities, read_study
from studies.space_setup import make_space

SAMPLERS = ("auto", "cma", "random", "tpe")
ALL = ("global", *(f"{name}{race}" for race in ("+race", "") for name in SAMPLERS), "evolve")
_TOP, _WHOLE = 5, 10_000
_GRID = {"method": ["linear", "task_arithmetic", "ties", "dare_linear", "dare_ties"]}


class _EnoughError(Exception):
    """The items are used up."""


@dataclass(frozen=True, slots=True)
class Situation:
    """One of the zoo's, ready to be searched.

    Attributes:
        name: of the demo's study.
        scores: of its models.
        bands: the space over depth.
        flat: the same knobs, one value for all depths.
        grid: the published grid's space.
    """

    name: str
    scores: ReplayedScores
    bands: SearchSpace
    flat: SearchSpace
    grid: SearchSpace

    def items(self) -> int:
        """Of the selection split."""
        return sum(len(o.examples("selection")) for o in self.scores.objectives)

    def evaluator(self) -> Evaluator:
        """The scores in the evaluator's place."""
        return cast(Evaluator, self.scores)


@dataclass(slots=True)
class Run:
    """One search while it goes on: items used, and every incumbent's confirm score."""

    situation: Situation
    space: SearchSpace
    items: int
    used: int = 0
    best: float = float("-inf")
    incumbents: list[tuple[int, float]] = field(default_factory=list)

    def on_trial(self, trial: FrozenTrial) -> None:
        """Count the trial's items; a new incumbent is scored on confirm (not counted)."""
        self.used += trial.user_attrs.get(STOPPED, self.situation.items())
        if is_whole(trial) and (trial.value or 0.0) > self.best:
            self.best = trial.value or 0.0
            sets = self.situation.scores.sets(self.space.decode(trial.params), "confirm")
            self.incumbents.append((self.used, round(combined(sets), 5)))
        if self.used >= self.items:
            raise _EnoughError


def main() -> None:
    """Run what the file does not hold yet, or show it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--situations", default="preference,reasoning,skills")
    parser.add_argument("--cases", default=",".join(ALL))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--block", type=int, default=20, help="items between two looks")
    parser.add_argument("--scale", type=int, default=1, help="times as many items as the demo")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--show", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path, help="with --show: draw the differences, PNG")
    parser.add_argument("--overhead", nargs="+", metavar="TRIALSxDIMENSIONS")
    options = parser.parse_args()
    if options.overhead:
        overhead(options.overhead)
        return
    if options.show:
        rows = [json.loads(line) for f in options.show for line in f.read_text().splitlines()]
        print(tables(rows))
        if options.figure:
            draw_differences(rows, options.figure)
        return
    torch.set_num_threads(1)
    for name in options.situations.split(","):
        with tempfile.TemporaryDirectory() as folder:
            _run_situation(Path(folder), name, options)


def _run_situation(folder: Path, name: str, options: argparse.Namespace) -> None:
    """The grid once, then all cases of one seed after the other."""
    path: Path = options.json
    text = path.read_text() if path.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    label = name if options.scale == 1 else f"{name} x{options.scale}"
    known = {(r["case"], r["seed"]): r for r in rows if r["situation"] == label}
    wanted = [(c, s) for s in range(options.seeds) for c in options.cases.split(",")]
    if all(key in known for key in wanted):
        return
    situation = _situation(folder, name, options.block, options.scale)
    grid = known.get(("grid", 0))
    for case, seed in [("grid", 0), *wanted]:
        if (case, seed) in known:
            continue
        if case == options.cases.split(",")[0]:
            situation.scores.forget()  # the cases of one seed share points
        found = _run_case(situation, case, seed, grid) if grid else _run_grid(situation)
        grid = grid or found
        row = {"situation": label, "case": case, "seed": seed, **found}
        text += json.dumps(row, separators=(",", ":")) + "\n"
        write_text(path, text)


def _situation(folder: Path, name: str, block: int, scale: int) -> Situation:
    stage_demo(folder, trials=1, seed=0)
    if scale > 1:
        write_data(folder / "data", scale=scale)
    study = _study(folder, name, "bands", {"bands": 6})
    known = identities(study)
    objectives = make_objectives(study.config, study.folder)
    engine = make_engine(study, study.template.kept_from(), known)
    own = Evaluator(load_models(study), objectives.main, study.out, known, {}, engine)
    ranges = {"weight": [0.0, 1.5], "density": [0.1, 1.0]}
    search = {"knobs": ranges, "choices": dict(_GRID), "bands": 1}
    studies = [
        study,
        _study(folder, name, "flat", {"bands": 1}),
        _study(folder, name, "grid", search),
    ]
    model = own.resident
    spaces = [make_space(s, model.layers, model.merged_names) for s in studies]
    assert not any(map(solutions, spaces))
    return Situation(name, ReplayedScores(own, block), *spaces)


def _study(folder: Path, situation: str, name: str, search: dict[str, Any]) -> StudyFile:
    """The demo's study of that name with another space, scored in one block."""
    yaml = YAML()
    content = yaml.load((folder / f"{situation}.yaml").read_text())
    for objective in content["objectives"]:
        objective.pop("task", None)
    content |= {"method": "task_arithmetic", "racing": {"block": _WHOLE}, "sampler": "tpe"}
    content["search"] = {"knobs": {"weight": [0.0, 1.5]}, **search}
    path = folder / f"bench-{situation}-{name}.yaml"
    yaml.dump(content, path)
    return read_study(path)


def _run_grid(situation: Situation) -> dict[str, Any]:
    space = situation.grid
    points = [point for point in vlrm_58(space) if point is not None]
    plan = SearchPlan(space, points, make_proposer("random", space.dimensions(), 0), "grid")
    found = _search(situation, plan, situation.items() * len(points))
    test = situation.scores.sets(space.decode(points[0]), "test")
    return found | strata(test)


def _run_case(situation: Situation, case: str, seed: int, grid: dict[str, Any]) -> dict[str, Any]:
    name, _, race = case.partition("+")
    space = situation.flat if name == "global" else situation.bands
    dimensions, budget = space.dimensions(), grid["items"] // situation.items()
    asked = {"evolve": "cma", "global": "auto"}.get(name, name)
    sampler = resolve_sampler(asked, dimensions, budget)
    scores = situation.scores
    racer = Racer(scores.objectives, scores.blocks(), "test", top=_TOP) if race else None
    warm = [] if name == "evolve" else warm_points(["anchors"], space)
    proposer = make_proposer(sampler, dimensions, seed, budget)
    plan = SearchPlan(space, warm, proposer, sampler, racer)
    return {"sampler": sampler, **_search(situation, plan, grid["items"])}


def _search(situation: Situation, plan: SearchPlan, items: int) -> dict[str, Any]:
    run = Run(situation, plan.space, items)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder), SEARCH, plan.space.dimensions())
        with suppress(_EnoughError):
            run_search(
                plan,
                ledger,
                situation.evaluator(),
                Limits(None, None),
                Interruption(),
                run.on_trial,
            )
        told: dict[str, Any] = {
            "items": run.used,
            "incumbents": run.incumbents,
            "trials": len(ledger.trials),
        }
        told |= _winner(situation, plan.space, ledger)
        if plan.racer:
            told["racing"] = saved(ledger.trials)
            told["wrong"] = _wrong_stops(situation, plan.space, ledger)
            told["most"] = _saved_at_most(situation, plan.space, ledger, plan.racer)
        return told


def _winner(situation: Situation, space: SearchSpace, ledger: Ledger) -> dict[str, Any]:
    """The best on confirm of the best five on selection, scored on test."""

    def on_confirm(trial: FrozenTrial) -> Any:
        return situation.scores.sets(space.decode(trial.params), "confirm")

    best = confirm(ledger.trials, _TOP, on_confirm)[0]
    test = situation.scores.sets(space.decode(best.trial.params), "test")
    figures = {"selection": best.selection, "confirm": best.value(), "test": combined(test)}
    return {**{k: round(v, 5) for k, v in figures.items()}, "bits": bits(test)}


def _wrong_stops(situation: Situation, space: SearchSpace, ledger: Ledger) -> int:
    """How many of the true best five racing stopped; among equals those that it let through."""
    scores = []
    for trial in ledger.trials:
        sets = situation.scores.sets(space.decode(trial.params), "selection")
        scores.append((round(combined(sets), 9), is_whole(trial)))
    return sum(not whole for _, whole in sorted(scores, reverse=True)[:_TOP])


def _saved_at_most(
    situation: Situation, space: SearchSpace, ledger: Ledger, racer: Racer
) -> float:
    """What a race of the same error could have saved of these candidates, at most."""
    sets = [situation.scores.sets(space.decode(t.params), "selection") for t in ledger.trials]
    scores = [np.array([s.value for own in one for s in own.scores], dtype=float) for one in sets]
    told = strata(sets[0])
    weights = np.array(told["weights"])[np.array(told["strata"], dtype=int)]
    return round(saved_at_most(scores, weights, racer.alpha, racer.top), 4)


if __name__ == "__main__":
    main()
