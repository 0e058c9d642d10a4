"""From the `objectives:` of a study file to objectives with their data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from objectives.data import Example
from objectives.generation import ROLES as GENERATION_ROLES
from objectives.generation import Generation
from objectives.objective import Objective
from objectives.preference import ROLES as PREFERENCE_ROLES
from objectives.preference import Preference
from objectives.records import Split
from objectives.rules import Roles
from studies.config import StudyConfig
from studies.console import warn
from studies.objective_data import read_study_data

Data = Mapping[Split, Sequence[Example]]


@dataclass(frozen=True, slots=True)
class ObjectiveSet:
    """A study's objectives and their variants for the rows of a comparison.

    Attributes:
        main: what the search maximises.
        without_image: the same examples, the images not shown.
        rivals: other ways to score the target alone, by the name of their row.
        data: which examples stand in which split, and what was left out, for the study's folder.
    """

    main: tuple[Objective, ...]
    without_image: tuple[Objective, ...]
    rivals: dict[str, tuple[Objective, ...]]
    data: Mapping[str, Any] = field(default_factory=dict)


def make_objectives(config: StudyConfig, folder: Path) -> ObjectiveSet:
    """Read the data of all objectives; what is left out is said.

    Raises:
        ObjectiveError: data that cannot be used, or splits that cannot be made.
    """
    data = read_study_data(config, folder, ROLES)
    for note in data.notes:
        warn(note)
    main = tuple(MAKERS[o.kind](o, data.splits[o.name]) for o in config.objectives)
    return ObjectiveSet(
        main=main,
        without_image=tuple(replace(o, image=False) for o in main),
        rivals=_rivals(config, main),
        data=data.record,
    )


def _generation(config: Any, data: Data) -> Generation:
    return Generation(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        max_new_tokens=config.max_new_tokens,
    )


def _preference(config: Any, data: Data) -> Preference:
    return Preference(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        scorer=config.scorer,
    )


MAKERS: dict[str, Callable[[Any, Data], Generation | Preference]] = {
    "generation": _generation,
    "preference": _preference,
}
"""How an objective of each kind is made of its config and its data."""

ROLES = {
    "generation": Roles(texts=GENERATION_ROLES),
    "preference": Roles(texts=PREFERENCE_ROLES),
}
"""What each kind needs of an example."""


def _rivals(
    config: StudyConfig, main: Sequence[Generation | Preference]
) -> dict[str, tuple[Objective, ...]]:
    """The target's answer constrained to a list; its own log-probability as a judge of pairs."""
    constrained: list[Objective] = []
    judged: list[Objective] = []
    for setting, objective in zip(config.objectives, main, strict=True):
        allowed = tuple(getattr(setting, "constrained_to", ()))
        if isinstance(objective, Generation):
            constrained.append(replace(objective, allowed=allowed) if allowed else objective)
        elif objective.scorer == "reward_head":
            judged.append(replace(objective, scorer="log_probability"))
    rivals: dict[str, tuple[Objective, ...]] = {}
    if any(getattr(setting, "constrained_to", ()) for setting in config.objectives):
        rivals["answers constrained"] = tuple(constrained)
    if judged and len(judged) == len(main):
        rivals["log-probability judge"] = tuple(judged)
    return rivals
