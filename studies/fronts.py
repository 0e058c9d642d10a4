"""The end of a search for a front: its points on confirm, their rows, recipes and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from merge_ops.recipe_text import write_recipe
from objectives.objective import Objective
from objectives.records import ScoreSet
from search.front import front_of, growth, undominated
from search.selection import Confirmed
from studies.comparison import Row, ScoredRow
from studies.front_figures import Values, compare_room, covered, values_of
from studies.parent_scores import ParentScores, Seen
from studies.paths import FRONT_RECIPE
from studies.provenance import with_commits
from studies.scorer import Scorer
from studies.search_loop import Search
from studies.setup import StudyFile
from studies.trial_facts import guards_of, named_values
from studies.writing import with_provenance


@dataclass(frozen=True, slots=True)
class FrontPoints:
    """The front of one search on the confirm split.

    Attributes:
        search: that found it.
        points: finalists that hold all guards and that no other such finalist beats on confirm, by
            the first value, the highest first.
        what: they are called in the table.
        known: rows that stand for some of them already, by trial.
    """

    search: Search
    points: Sequence[Confirmed]
    what: str
    known: Mapping[int, str]

    def rows(self, objectives: tuple[Objective, ...]) -> list[Row]:
        """A row of the table for every point that has none yet."""
        return [
            Row(self.name(i), self.search.space.decode(one.trial.params), objectives)
            for i, one in enumerate(self.points, start=1)
            if one.trial.number not in self.known
        ]

    def name(self, number: int) -> str:
        """What the row of a point is called; they are counted from 1."""
        trial = self.points[number - 1].trial.number
        return self.known.get(trial, f"{self.what} {number} (trial {trial})")


def confirmed_front(
    search: Search,
    finals: Sequence[Confirmed],
    values: Values,
    what: str,
    known: Mapping[int, str],
) -> FrontPoints:
    """The finalists that stand on the front of the confirm split.

    Args:
        search: that found them.
        finals: its finalists.
        values: of the front.
        what: its points are called in the table.
        known: rows that stand for some of them already, by trial.
    """
    own = [one for one in finals if one.violation() == 0]
    found = [tuple(values_of(one.confirm, values).values()) for one in own]
    kept = sorted(undominated(found), key=lambda i: [-v for v in found[i]])
    return FrontPoints(search, [own[i] for i in kept], what, known)


def front_results(
    evaluator: Scorer,
    own: FrontPoints,
    rival: FrontPoints | None,
    scored: Mapping[str, ScoredRow],
    parents: Sequence[Row],
) -> dict[str, Any]:
    """The front as plain data: values of its points by split, hypervolumes, and the parents.

    Args:
        evaluator: knows the values, and scores parents that are not scored yet.
        own: the front.
        rival: that of the search without depth, if there is one.
        scored: all rows by name, scored on the test split.
        parents: rows to be marked beside the front.
    """
    values = evaluator.front
    trials = own.search.ledger.trials
    tests = [scored[own.name(i + 1)].sets for i in range(len(own.points))]
    result: dict[str, Any] = {
        "values": {name: list(objectives) for name, objectives in values.items()},
        "points": [
            {
                "point": i,
                "trial": one.trial.number,
                "digest": one.trial.user_attrs["digest"],
                "recipe": FRONT_RECIPE.format(i),
                "found": one.trial.number in own.known,
                "selection": named_values(one.trial),
                "confirm": values_of(one.confirm, values),
                "test": values_of(test, values),
                "guards": {
                    name: {"selection": dict(guards_of(one.trial)[name]), "confirm": asdict(found)}
                    for name, found in one.guards.items()
                },
            }
            for i, (one, test) in enumerate(zip(own.points, tests, strict=True), start=1)
        ],
        "selection_points": len(front_of(trials)),
        "hypervolume": {
            "selection": growth(trials)[-1],
            "confirm": covered([one.confirm for one in own.points], values),
            "test": covered(tests, values),
        },
        "parents": _marks(evaluator, parents),
    }
    if rival is not None and rival.points and own.points:
        theirs = [scored[rival.name(i + 1)].sets for i in range(len(rival.points))]
        result["rival"] = {
            "points": [values_of(sets, values) for sets in theirs],
            **asdict(compare_room(tests, theirs, values)),
        }
    return result


def _marks(evaluator: Scorer, parents: Sequence[Row]) -> dict[str, dict[Seen, Any]]:
    """What parents got on selection and confirm, by value."""
    kept = ParentScores(evaluator)
    splits: tuple[Seen, ...] = ("selection", "confirm")
    return {
        row.name: {s: values_of(kept.of(row.recipe, s), evaluator.front) for s in splits}
        for row in parents
        if row.objectives == evaluator.objectives
    }


def write_front(
    study: StudyFile,
    evaluator: Scorer,
    own: FrontPoints,
    scored: Mapping[str, ScoredRow],
    results: Mapping[str, Any],
) -> list[Path]:
    """Write the recipe of every point with its provenance into the folder `front`; their paths."""
    rows = {row["name"]: row for row in results["rows"]}
    paths = []
    for i, one in enumerate(own.points, start=1):
        name = own.name(i)
        winner = {
            "trial": one.trial.number,
            "digest": one.trial.user_attrs["digest"],
            "selection": one.selection,
        }
        found: dict[str, Sequence[ScoreSet]] = {"confirm": one.confirm, "test": scored[name].sets}
        mine = {**results, "winner": winner, "rows": [rows[name]]}
        recipe = own.search.space.decode(one.trial.params)
        paths.append(study.out / FRONT_RECIPE.format(i))
        write_recipe(
            with_commits(with_provenance(study, evaluator, recipe, mine, found)), paths[-1]
        )
    return paths
