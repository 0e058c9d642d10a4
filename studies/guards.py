"""A study's guards: floors under objectives, decided against a parent on the same examples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from merge_ops.recipe import Recipe
from objectives.guard import Decision, Floor, decide, read_floor
from objectives.records import ScoreSet
from objectives.statistics import Interval
from studies.comparison import only
from studies.parent_scores import ParentScores, Seen
from studies.setup import StudyFile

_UNSEEN = Decision("undecided", 1.0, Interval(0.0, -1.0, 1.0))
"""Of a candidate that racing stopped before the guard's first example."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One floor.

    Attributes:
        objective: whose score must keep it.
        floor: absolute, or relative to the parent.
        parent: its name.
        recipe: the parent as a candidate: its merged tensors inside the target.
    """

    objective: str
    floor: Floor
    parent: str
    recipe: Recipe

    def __str__(self) -> str:
        return f"{self.objective} >= {self.floor}" + (
            f" ({self.parent})" if self.floor.of_parent else ""
        )


@dataclass(frozen=True, slots=True)
class Guards:
    """All floors of a study.

    Attributes:
        guards: in the order of the study file.
        parents: their scores.
    """

    guards: Sequence[Guard]
    parents: ParentScores

    def decide(self, sets: Sequence[ScoreSet], split: Seen) -> dict[str, Decision]:
        """Whether a candidate's scores keep each floor, by objective.

        Args:
            sets: its scores; of a candidate that racing stopped, those that there are.
            split: on which they were taken.
        """
        found = {}
        for guard in self.guards:
            ours = next(s for s in sets if s.objective == guard.objective)
            if not ours.scores:
                found[guard.objective] = _UNSEEN
                continue
            theirs = []
            if guard.floor.of_parent:
                theirs = [_among(self._parent(guard, split), ours)]
            found[guard.objective] = decide(guard.floor, [ours], theirs)
        return found

    def warnings(self) -> list[str]:
        """A line for each guard that even its own parent would not be shown to keep."""
        lines = []
        splits: tuple[Seen, ...] = ("selection", "confirm")
        for guard in self.guards:
            if not guard.floor.of_parent:
                continue
            for split in splits:
                own = self._parent(guard, split)
                if decide(guard.floor, [own], [own]).standing != "holds":
                    lines.append(
                        f"guard {guard}: {len(own.scores)} examples on {split} are too few to "
                        "show that it holds even where nothing changes; lower the floor or take "
                        "more examples"
                    )
        return lines

    def _parent(self, guard: Guard, split: Seen) -> ScoreSet:
        sets = self.parents.of(guard.recipe, split)
        return next(s for s in sets if s.objective == guard.objective)


def _among(parent: ScoreSet, ours: ScoreSet) -> ScoreSet:
    """The parent's scores on the examples that we have."""
    ids = {score.id for score in ours.scores}
    return replace(parent, scores=tuple(s for s in parent.scores if s.id in ids))


def make_guards(study: StudyFile, parents: ParentScores) -> Guards | None:
    """The study's guards; None if it has none."""
    place = study.target_index()
    labels = dict(zip(study.labels, (m.model for m in study.template.models), strict=True))
    target = "target" if place is None else study.labels[place]
    guards = []
    for objective in study.config.objectives:
        if objective.at_least is None:
            continue
        name = target if objective.parent is None else objective.parent.replace(".", "-")
        model = labels.get(name, study.template.kept_from())
        floor = read_floor(objective.at_least)
        guards.append(Guard(objective.name, floor, name, only(study.template, model)))
    return Guards(guards, parents) if guards else None
