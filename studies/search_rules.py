"""What a study file may search: rules between its methods, its knobs and its depth."""

from typing import Any

from merge_ops.errors import did_you_mean
from merge_ops.groups_yaml import unfit
from merge_ops.rewriting import all_methods
from merge_ops.settings_yaml import Problems
from merge_ops.yaml_file import Location
from search.naming import METHOD
from studies.config import StudyConfig
from studies.search_config import SearchConfig
from studies.searchable import listable, searched_methods, solved_knobs
from studies.seed_rules import average_problems


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
