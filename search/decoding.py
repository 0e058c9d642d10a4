"""How a point of a search space becomes a recipe."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from merge_ops.layout import Layout
from merge_ops.lowering import lower
from merge_ops.recipe import Entry, MethodGroup, Recipe, Setting, Source
from merge_ops.rewriting import find_method
from search.coupling import to_experts
from search.dimension import Point
from search.filling import setting_of
from search.group_methods import recipe_groups
from search.naming import METHOD, SEED, dimension_name

if TYPE_CHECKING:  # the space decodes its own points
    from search.space import SearchSpace


def decoded(space: "SearchSpace", values: Point) -> Recipe:
    """The recipe that a point of a space stands for; see `SearchSpace.decode`."""
    method, groups = _methods(space, values)
    names = dict.fromkeys([method, *(group.method for group in groups)])
    ops = [find_method(name) for name in names]
    allowed = {name for op in ops for name in op.parameters()}
    common = {k: v for k, v in space.template.parameters.items() if k in allowed}
    common |= {n: (Entry(None, values[n]),) for n in space.choices if n in allowed}
    models = [dict(m.parameters) for m in space.template.models]
    for knob in space.ranges:
        own_knob = next((op.knobs[knob] for op in ops if knob in op.knobs), None)
        if own_knob is None:
            continue
        if own_knob.whole:
            common[knob] = (Entry(None, _whole(space, knob, values)),)
        elif own_knob.per_expert:
            settings = _settings(space, knob, values)
            for own, setting in zip(models, settings, strict=True):
                own[knob] = setting
        else:
            common[knob] = _settings(space, knob, values)[0]
    sources = tuple(
        Source(m.model, own) for m, own in zip(space.template.models, models, strict=True)
    )
    drawn = SEED in space.choices and any(getattr(op, "random", False) for op in ops)
    bases = [space.template.task_base(op) for op in ops]
    recipe = replace(
        space.template,
        method=method,
        groups=groups,
        seed=int(values[SEED]) if drawn else space.template.seed,
        models=sources,
        parameters=common,
        base_model=next(filter(None, bases), None),  # mergekit would merge one that is ignored
        statistics=space.template.statistics if ops[0].traits.statistics else None,
    )
    return lower(recipe, Layout(space.layers, space.names))


def _methods(space: "SearchSpace", values: Point) -> tuple[str, tuple[MethodGroup, ...]]:
    """The method of a point, or the one of the rest and those of its groups."""
    if not space.method_per_group:
        return str(values.get(METHOD, space.template.method)), ()
    chosen = {
        (place, space.modules[i % len(space.modules)].name): str(
            values[dimension_name(METHOD, "", group)]
        )
        for i, (place, group) in enumerate(space.placed_groups())
    }
    return recipe_groups(chosen, space.depth, space.modules, space.names)


def controls_of(space: "SearchSpace", knob: str, values: Point) -> dict[str, list[list[float]]]:
    """A knob's values by part of a layer: for each expert (or all), one per place."""
    depth, found = space.depth, {}
    if space.knob(knob).whole:
        return {"": [[_whole(space, knob, values)] * depth.places]}
    groups = space.groups()
    for i, module in enumerate(space.modules):
        own = groups[i :: len(space.modules)]
        rows = [[_value(space, knob, one, g, values) for g in own] for one in space.owners(knob)]
        if space.knob(knob).per_expert:
            coupled = space.ranges[knob].coupled
            columns = [
                to_experts(coupled, [row[p] for row in rows], len(space.labels))
                for p in range(depth.places)
            ]
            rows = [list(row) for row in zip(*columns, strict=True)]
        found[module.name] = rows
    return found


def _whole(space: "SearchSpace", knob: str, values: Point) -> int:
    """The whole number that a value stands for."""
    return math.floor(min(_value(space, knob, "", "", values), space.ranges[knob].high))


def _value(space: "SearchSpace", knob: str, one: str, group: str, values: Point) -> float:
    name = dimension_name(knob, one, group)
    frozen = space.frozen_at(name)
    return float(values[name]) if frozen is None else frozen


def _settings(space: "SearchSpace", knob: str, values: Point) -> list[Setting]:
    """A knob's setting for every expert, or one for all."""
    controls = controls_of(space, knob, values)
    count = len(next(iter(controls.values())))
    return [
        setting_of(
            {m: rows[i] for m, rows in controls.items()}, space.depth, space.modules, space.names
        )
        for i in range(count)
    ]
