"""What a study file may search over a list: rules for `search.choices`, and its values."""

from collections.abc import Mapping
from typing import Any

import torch

from merge_ops.errors import UserError, did_you_mean
from merge_ops.method import Method
from merge_ops.registry import MergeOp, Value
from merge_ops.settings_yaml import Problems, read_value
from merge_ops.tensor_merge import merge_tensor
from merge_ops.yaml_file import Location
from search.dimension import Choice
from search.naming import METHOD, SEED
from studies.config import StudyConfig
from studies.searchable import listable, searched_methods
from studies.seed_rules import seed_problems

Choices = dict[str, tuple[Value, ...]]
"""The listed values of each knob or option that is searched over a list, by its name."""


def read_choices(config: StudyConfig, problems: Problems) -> Choices:
    """Check and convert `search.choices`; what is wrong is appended to `problems`."""
    choices: Choices = {}
    ops = searched_methods(config)
    for name, content in config.search.choices.items():
        op = next((op for op in ops if name in op.parameters()), ops[0])
        place: Location = ("search", "choices", name)
        if name == METHOD:
            problems += _list_problems(config, name, content, place)
            choices[name] = tuple(content)
            continue
        if name == SEED:
            problems += seed_problems(ops, content, place) or _list_problems(
                config, name, content, place
            )
            choices[name] = tuple(content)
            continue
        problem = _name_problem(config, op, name)
        if problem:
            problems.append((place, f"search.choices.{name}: {problem}"))
            continue
        if name in config.parameters:
            text = f"parameters.{name}: it is either searched or fixed, but this one is both"
            problems.append((("parameters", name), text))
        found: Problems = []
        values = [read_value(v, op, name, (*place, i), found) for i, v in enumerate(content)]
        found = found or _value_problems(values, op, name, place)
        found = found or _list_problems(config, name, values, place)
        problems += found
        choices[name] = tuple(values)
    return choices


def _name_problem(config: StudyConfig, op: Method, name: str) -> str | None:
    known = listable(op)
    if name in op.knobs and op.knobs[name].per_expert:
        return f"{op.name} has one {name} per expert; search it as [low, high] under search.knobs"
    if name in op.parameters() and name not in known:
        return "it decides which model is made, and is no matter of search"
    if name not in known:
        return f"{op.name} has no parameter {name!r} among {known}{did_you_mean(name, known)}"
    if name in config.search.knobs:
        return "is searched over this list or in search.knobs, but not in both"
    return None


def _value_problems(values: list[Value], op: Method, name: str, place: Location) -> Problems:
    """Values that a method refuses when it solves: each is tried on a matrix of 2 x 2."""
    if not isinstance(op, MergeOp) or not op.traits.solve:
        return []
    problems: Problems = []
    base, expert = torch.zeros(2, 2), torch.eye(2)
    for i, value in enumerate(values):
        trial: Mapping[str, Any] = {name: value}
        try:
            merge_tensor(op.name, base, [expert] * op.min_experts, **trial)
        except UserError as error:
            problems.append(((*place, i), f"search.choices.{name}.{i}: {error}"))
    return problems


def _list_problems(
    config: StudyConfig, name: str, values: list[Value], place: Location
) -> Problems:
    """Rules for the list as a whole."""
    twice = [i for i, value in enumerate(values) if value in values[:i]]
    if twice:
        text = f"search.choices.{name}.{twice[0]}: {values[twice[0]]!r} stands here twice"
        return [((*place, twice[0]), text)]
    if not values:
        return [(place, f"search.choices.{name}: must list two values or more")]
    if len(values) == 1:
        text = "one value is no choice; put it under parameters:"
        return [(place, f"search.choices.{name}: {text} {{{name}: {_yaml(values[0])}}}")]
    choice = Choice(name, tuple(values), values[0], ordered=name != SEED)
    if config.sampler == "cma" and choice.ranked() is None:
        which = "seeds" if name == SEED else "texts"
        text = (
            f"sampler cma walks along an order of values, and three or more {which} have none; "
            "use sampler: tpe, or list two values"
        )
        return [(place, f"search.choices.{name}: {text}")]
    return []


def _yaml(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"
