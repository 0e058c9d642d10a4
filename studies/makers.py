"""How an objective of each kind is made of its config and its data, and what it needs of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.generation import Generation
from objectives.harness import HarnessObjective
from objectives.judging import ROLES as JUDGED
from objectives.judging import Judge
from objectives.likelihood import Likelihood
from objectives.metric import get_metric
from objectives.multiple_choice import MultipleChoice
from objectives.objective import Objective
from objectives.picking import Picking
from objectives.preference import ROLES as COMPARED
from objectives.preference import Preference
from objectives.records import Split
from objectives.request import Writing
from objectives.rules import Roles
from objectives.user_function import import_function
from objectives.user_objective import UserObjective
from studies.kinds import (
    BestOfNConfig,
    ChoiceConfig,
    GenerationConfig,
    HarnessConfig,
    JudgeConfig,
    LikelihoodConfig,
    PreferenceConfig,
    PythonConfig,
)
from studies.objective_config import ObjectiveBase

Data = Mapping[Split, Sequence[Example]]


def _generation(config: GenerationConfig, data: Data) -> Generation:
    metric = get_metric(config.metric).with_options(config.metric_options)
    for examples in data.values():
        for example in examples:
            metric.check(example)
    return Generation(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        max_new_tokens=config.max_new_tokens,
        metric=metric,
        prompt=config.prompt,
    )


def _choice(config: ChoiceConfig, data: Data) -> MultipleChoice:
    return MultipleChoice(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        mode=config.mode,
        normalise=config.normalise,
        list_options=config.list_options,
        max_new_tokens=config.max_new_tokens,
    )


def _preference(config: PreferenceConfig, data: Data) -> Preference:
    return Preference(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        scorer=config.scorer,
    )


def _best_of_n(config: BestOfNConfig, data: Data) -> Picking:
    return Picking(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        scorer=config.scorer,
    )


def _judge(config: JudgeConfig, data: Data) -> Judge:
    return Judge(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        mode=config.mode,
        writing=Writing(
            config.max_new_tokens,
            votes=config.votes,
            temperature=config.temperature,
            seed=config.seed,
        ),
    )


def _likelihood(config: LikelihoodConfig, data: Data) -> Likelihood:
    return Likelihood(
        name=config.name,
        data=data,
        average=config.average,
        weight=config.weight,
        transform=config.transform,
    )


def _python(config: PythonConfig, data: Data) -> UserObjective:
    return UserObjective(
        name=config.name,
        data=data,
        function=import_function(config.name, config.function, ("live", "examples")),
        path=config.function,
        average=config.average,
        weight=config.weight,
    )


def _harness(config: HarnessConfig, data: Data) -> HarnessObjective:
    return HarnessObjective(
        name=config.name,
        data=data,
        task=config.harness_task,
        metric=config.metric,
        shots=config.shots,
        folder=config.tasks_folder,
        average=config.average,
        weight=config.weight,
    )


MAKERS: dict[str, Callable[[Any, Data], Objective]] = {
    "generation": _generation,
    "choice": _choice,
    "preference": _preference,
    "best_of_n": _best_of_n,
    "judge": _judge,
    "likelihood": _likelihood,
    "python": _python,
    "lm_eval": _harness,
}
"""How an objective of each kind is made of its config and its data."""


def _metric_roles(config: GenerationConfig) -> Roles:
    needs = get_metric(config.metric).needs or ("answer",)
    lists = tuple(role for role in needs if role in _LISTS)
    numbers = tuple(role for role in needs if role in _NUMBERS)
    return Roles(tuple(r for r in needs if r not in (*lists, *numbers)), lists, numbers)


def _likelihood_roles(config: LikelihoodConfig) -> Roles:
    return Roles(("answer",), ("distractors",) if config.distractors else ())


_LISTS = ("answers", "options", "responses")
_NUMBERS = ("bbox", "precision", "correctness")

ROLES: dict[str, Callable[[Any], Roles]] = {
    "generation": _metric_roles,
    "choice": lambda _: Roles(("answer",), ("options",)),
    "preference": lambda _: Roles(COMPARED),
    "best_of_n": lambda _: Roles((), ("responses",), ("correctness",)),
    "judge": lambda _: Roles(JUDGED),
    "likelihood": _likelihood_roles,
    "python": lambda config: Roles(tuple(config.needs)),
    "lm_eval": lambda _: Roles(),
}
"""What each kind needs of an example."""


def make_objective(config: ObjectiveBase, data: Data) -> Objective:
    """The objective of a config.

    Raises:
        ObjectiveError: an example lacks what the kind needs.
    """
    kind: str = config.kind  # type: ignore[attr-defined]  # of every member of the union
    roles = ROLES[kind](config)
    if kind != "generation":  # there the metric says it, in its own words
        for examples in data.values():
            for example in examples:
                _check(config.name, kind, roles, example)
    return MAKERS[kind](config, data)


def _check(name: str, kind: str, roles: Roles, example: Example) -> None:
    known = {*example.texts, *example.lists, *example.numbers}
    if "answers" in known:
        known.add("answer")
    missing = [r for r in (*roles.texts, *roles.lists, *roles.numbers) if r not in known]
    if missing:
        raise ObjectiveError(
            f"{name}: the kind {kind} needs {', '.join(missing)}, but example {example.id} has "
            f"{', '.join(sorted(known)) or 'nothing'} alone."
        )
