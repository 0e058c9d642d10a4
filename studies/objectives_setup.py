"""From the `objectives:` of a study file to objectives with their data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from objectives.data import Example, read_examples
from objectives.errors import ObjectiveError
from objectives.generation import ROLES as GENERATION_ROLES
from objectives.generation import Generation
from objectives.objective import Objective
from objectives.preference import ROLES as PREFERENCE_ROLES
from objectives.preference import Preference
from objectives.records import SPLITS, Split
from studies.config import GenerationConfig, ObjectiveConfig, StudyConfig


@dataclass(frozen=True, slots=True)
class ObjectiveSet:
    """A study's objectives and their variants for the rows of a comparison.

    Attributes:
        main: what the search maximises.
        without_image: the same examples, the images not shown.
        rivals: other ways to score the target alone, by the name of their row.
    """

    main: tuple[Objective, ...]
    without_image: tuple[Objective, ...]
    rivals: dict[str, tuple[Objective, ...]]


def make_objectives(config: StudyConfig, folder: Path) -> ObjectiveSet:
    """Read the data of all objectives and check that no example stands in two splits.

    Raises:
        ObjectiveError: data that cannot be used, or splits that share an example.
    """
    main = tuple(_objective(o, folder) for o in config.objectives)
    for objective in main:
        check_disjoint(objective)
    return ObjectiveSet(
        main=main,
        without_image=tuple(replace(o, image=False) for o in main),
        rivals=_rivals(config, main),
    )


def _objective(config: ObjectiveConfig, folder: Path) -> Generation | Preference:
    generation = isinstance(config, GenerationConfig)
    roles = GENERATION_ROLES if generation else PREFERENCE_ROLES
    data: dict[Split, Sequence[Example]] = {}
    for split in SPLITS:
        source = getattr(config.data, split)
        local = folder / source
        source = str(local) if local.exists() or local.suffix else source
        data[split] = read_examples(source, roles, config.columns, config.limit)
    if isinstance(config, GenerationConfig):
        return Generation(
            name=config.name,
            data=data,
            average=config.average,
            weight=config.weight,
            max_new_tokens=config.max_new_tokens,
        )
    return Preference(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        scorer=config.scorer,
    )


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


def check_disjoint(objective: Objective) -> None:
    """No example may stand in two splits, by id or by the pixels of its image and question.

    Raises:
        ObjectiveError: names the first example that does.
    """
    owner: dict[object, tuple[Split, str]] = {}
    for split in SPLITS:
        for example in objective.examples(split):
            pixels = example.pixels_sha256()
            marks: list[object] = [example.id]
            if pixels is not None:
                marks.append((pixels, " ".join(example.question.casefold().split())))
            for mark in marks:
                first, name = owner.setdefault(mark, (split, example.id))
                if first != split:
                    raise ObjectiveError(
                        f"{objective.name}: the splits must not share examples, but {example.id} "
                        f"of {split} is {name} of {first}; drop it from one of them."
                    )
