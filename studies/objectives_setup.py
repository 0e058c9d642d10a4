"""From the `objectives:` of a study file to objectives with their data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from objectives.generation import Generation
from objectives.harness import HarnessObjective
from objectives.objective import Objective
from objectives.picking import Picking
from objectives.preference import Preference
from studies.config import StudyConfig
from studies.console import warn
from studies.makers import ROLES, make_objective
from studies.objective_data import read_study_data


@dataclass(frozen=True, slots=True)
class ObjectiveSet:
    """A study's objectives and their variants for the rows of a comparison.

    Attributes:
        main: what the search maximises.
        without_image: the same examples, the images not shown.
        rivals: other ways to score the target alone, by the name of their row.
        data: which examples stand in which split, and what was left out, for the study's folder.
        smooth: names of those whose smooth twin the search maximises.
    """

    main: tuple[Objective, ...]
    without_image: tuple[Objective, ...]
    rivals: dict[str, tuple[Objective, ...]]
    data: Mapping[str, Any] = field(default_factory=dict)
    smooth: frozenset[str] = frozenset()


def make_objectives(config: StudyConfig, folder: Path) -> ObjectiveSet:
    """Read the data of all objectives; what is left out is said.

    Raises:
        ObjectiveError: data that cannot be used, or splits that cannot be made.
    """
    data = read_study_data(config, folder, ROLES)
    for note in data.notes:
        warn(note)
    main = tuple(
        _located(make_objective(o, data.splits[o.name]), folder) for o in config.objectives
    )
    return ObjectiveSet(
        main=main,
        without_image=tuple(map(without_image, main)),
        rivals=_rivals(config, main),
        data=data.record,
        smooth=frozenset(
            o.name for o in config.objectives if getattr(o, "signal", "metric") == "smooth"
        ),
    )


def _located(objective: Objective, folder: Path) -> Objective:
    """The same with the folder of its own tasks found from the study file's."""
    if isinstance(objective, HarnessObjective) and objective.folder is not None:
        return replace(objective, folder=str(folder / objective.folder))
    return objective


def without_image(objective: Objective) -> Objective:
    """The same with no image shown; itself, if it never shows one."""
    if not hasattr(objective, "image"):
        return objective
    blind: Objective = replace(objective, image=False)  # type: ignore[type-var]
    return blind


def _rivals(config: StudyConfig, main: Sequence[Objective]) -> dict[str, tuple[Objective, ...]]:
    """The target's answer constrained to a list; its own log-probability as a judge."""
    constrained: list[Objective] = []
    judged: list[Objective] = []
    for setting, objective in zip(config.objectives, main, strict=True):
        allowed = tuple(getattr(setting, "constrained_to", ()))
        bound = isinstance(objective, Generation) and allowed
        constrained.append(replace(objective, allowed=allowed) if bound else objective)  # type: ignore[type-var]
        if isinstance(objective, (Preference, Picking)) and objective.scorer == "reward_head":
            judged.append(replace(objective, scorer="log_probability"))
    rivals: dict[str, tuple[Objective, ...]] = {}
    if any(getattr(setting, "constrained_to", ()) for setting in config.objectives):
        rivals["answers constrained"] = tuple(constrained)
    if judged and len(judged) == len(main):
        rivals["log-probability judge"] = tuple(judged)
    return rivals
