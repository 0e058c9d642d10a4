"""What a study file may search: rules between its method, its knobs, its choices and sampler."""

from collections.abc import Mapping
from typing import Any

import torch

from merge_ops.errors import UserError, did_you_mean
from merge_ops.groups_yaml import unfit
from merge_ops.method import Method
from merge_ops.registry import MergeOp, Value
from merge_ops.rewriting import all_methods, find_method
from merge_ops.settings_yaml import Problems, read_value
from merge_ops.tensor_merge import merge_tensor
from merge_ops.yaml_file import Location
from search.dimension import Choice
from search.space import METHOD, SEED
from studies.config import StudyConfig
from studies.search_config import SearchConfig
from studies.seed_rules import average_problems, seed_problems

Choices = dict[str, tuple[Value, ...]]
"""The listed values of each knob or option that is searched over a list, by its name."""


def searched_methods(config: StudyConfig) -> list[Method]:
    """Every method that a study's candidates may have; its own first."""
    names = dict.fromkeys([config.method, *map(str, config.search.choices.get(METHOD, ()))])
    return [find_method(name) for name in names]


def method_problems(config: StudyConfig) -> Problems:
    """Names that are no method's, and methods that cannot stand in a list of methods."""
    known = {op.name: op for op in all_methods()}
    listed: list[tuple[Location, Any]] = [(("method",), config.method)]
    listed += [
        (("search", "choices", METHOD, i), name)
        for i, name in enumerate(config.search.choices.get(METHOD, ()))
    ]
    problems: Problems = []
    for place, name in listed:
        dotted = ".".join(map(str, place))
        if not isinstance(name, str) or name not in known:
            text = f"{dotted}: there is no merge method {name!r}; known are {sorted(known)}"
            problems.append((place, text))
        elif len(listed) > 1 and (known[name].traits.views or known[name].traits.statistics):
            text = "gives views or takes statistics, and is searched in a study of its own"
            problems.append((place, f"{dotted}: {name} {text}"))
    names = [name for _, name in listed[1:]]
    if not problems and names and config.method not in names:
        text = f"method: must be one of search.choices.method, {names}; the search begins there"
        problems.append((("method",), text))
    return problems


def search_misfits(config: StudyConfig) -> Problems:
    """Rules between the methods' knobs and what is searched in intervals."""
    search, ops = config.search, searched_methods(config)
    title = " or ".join(op.name for op in ops)
    knobs = {name for op in ops for name in op.knobs}
    if not knobs and search != SearchConfig(choices=search.choices):
        text = f"search: {title} has no knob to search; leave this key out"
        return [(("search",), text)]
    problems = _refine_problems(config) + average_problems(search, ops) + _group_problems(config)
    known = sorted(knobs - {name for op in ops for name in solved_knobs(op)})
    if knobs and not (search.knobs or search.choices):
        lists = sorted({name for op in ops for name in listable(op)})
        more = f", or `choices` a list of values of one of {lists}" if lists else ""
        text = f"search: `knobs` must give at least one of {known} as [low, high]{more}"
        problems.append((("search",), text))
    for knob, span in search.knobs.items():
        place = ("search", "knobs", knob)
        own = [op for op in ops if knob in op.knobs]
        costly = [op.name for op in own if knob in solved_knobs(op)]
        if costly:
            low, high = span.ends()
            text = (
                f"search.knobs.{knob}: {costly[0]} solves every tensor anew for each {knob}, so "
                f"it is searched over a short list: search.choices.{knob}: [{low:g}, {high:g}]"
            )
            problems.append((place, text))
        elif not own:
            hint = did_you_mean(knob, known)
            text = f"search.knobs.{knob}: {title} searches {known}, not {knob!r}{hint}"
            problems.append((place, text))
        elif knob in config.parameters:
            text = f"parameters.{knob}: a knob is either searched or fixed, but this one is both"
            problems.append((("parameters", knob), text))
        elif span.coupled != "free" and not own[0].knobs[knob].per_expert:
            text = f"search.knobs.{knob}.coupled: {title} has one {knob} for all experts anyway"
            problems.append(((*place, "coupled"), text))
    return problems


def _refine_problems(config: StudyConfig) -> Problems:
    if config.search.refine is None:
        return []
    place = ("search", "refine")
    problems: Problems = []
    if config.sampler == "grid":
        text = "search.refine: a grid tries every point of one space; use another sampler"
        problems.append((place, text))
    if config.front is not None:
        text = "search.refine: bands are cut for one best candidate; it cannot follow a front"
        problems.append((place, text))
    return problems


def _group_problems(config: StudyConfig) -> Problems:
    """Whether every group can have a method of its own."""
    search, key = config.search, "search.method_per_group"
    if not search.method_per_group:
        return []
    names = [str(name) for name in search.choices.get(METHOD, ())]
    if not names:
        text = "lists no methods; add search.choices.method"
    elif search.curve is not None:
        text = "groups are bands of layers; write bands in place of curve"
    elif not (search.bands or search.modules):
        text = "there is one group alone; add bands or modules, or leave this key out"
    else:
        text = next(filter(None, map(unfit, names)), "")
    return [(("search", "method_per_group"), f"{key}: {text}")] if text else []


def solved_knobs(op: Method) -> list[str]:
    """Knobs for each of whose values a method has to solve every tensor."""
    return [knob for knob in op.knobs if op.traits.solve and knob != op.traits.scale]


def listable(op: Method) -> list[str]:
    """Names that may be searched over a list: one value for the whole recipe makes sense."""
    switches = (op.traits.base_switch, op.traits.views)
    one = [knob for knob, known in op.knobs.items() if not known.per_expert]
    return sorted([*one, *(option for option in op.options if option not in switches)])


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
