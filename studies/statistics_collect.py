"""Collecting statistics: the live model becomes each expert, reads examples, and is watched."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from merge_ops.expert_statistics import HeldStatistics
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.resident import ResidentModel
from merge_ops.statistics_writer import StatisticsWriter
from objectives.fishers import diagonal_fishers
from objectives.grams import Grams
from objectives.layerwise import Walk
from objectives.observation import Item, make_items
from studies.statistics_parts import find_parts
from studies.statistics_plan import StatisticsPlan

Note = Callable[[str], None]


def collect(
    plan: StatisticsPlan,
    template: Recipe,
    resident: ResidentModel,
    writer: StatisticsWriter,
    note: Note,
) -> None:
    """Collect and write every tensor; the live model is left as some merge of the experts.

    Args:
        plan: what is collected, from which examples.
        template: the study's recipe without searched settings.
        resident: holds the experts.
        writer: of the file.
        note: told of progress, and of layers that no example has reached.

    Raises:
        ObjectiveError: an example cannot be read.
    """
    if plan.op.traits.statistics == "fishers":
        _fishers(plan, template, resident, writer, note)
    elif plan.op.traits.through_merged:
        _grams_through_merged(plan, template, resident, writer, note)
    else:
        _grams(plan, template, resident, writer, note)


def _fishers(
    plan: StatisticsPlan,
    template: Recipe,
    resident: ResidentModel,
    writer: StatisticsWriter,
    note: Note,
) -> None:
    for expert in range(len(template.models)):
        resident.become(_alone(template, expert))
        items = _items(plan, resident, expert)
        for name, tensor in diagonal_fishers(resident, items, resident.parameters).items():
            writer.write(expert, name, tensor)
        note(f"expert {expert + 1} of {len(template.models)}: {len(items)} examples")


def _grams(
    plan: StatisticsPlan,
    template: Recipe,
    resident: ResidentModel,
    writer: StatisticsWriter,
    note: Note,
) -> None:
    """Inputs in the expert itself; one layer at a time, so that one layer's matrices are held."""
    parts, count = find_parts(resident), len(template.models)
    for expert in range(count):
        resident.become(_alone(template, expert))
        items = _items(plan, resident, expert)
        walk, outside = Walk(resident, list(parts.stack), items), Grams(parts.outside)
        with outside.watch():
            walk.enter()
        for layer, linears in enumerate(parts.inside):
            grams = Grams(linears)
            with grams.watch():
                walk.run(layer, go_on=True)
            _write(writer, expert, grams, note)
        with outside.watch():
            walk.leave()
        _write(writer, expert, outside, note)
        note(f"expert {expert + 1} of {count}: {len(items)} examples")


def _grams_through_merged(
    plan: StatisticsPlan,
    template: Recipe,
    resident: ResidentModel,
    writer: StatisticsWriter,
    note: Note,
) -> None:
    """Inputs of each expert's own layer, behind layers that are merged already.

    What stands before the decoder is one such layer: a vision tower's matrices are of each
    expert's own tower.
    """
    parts, experts = find_parts(resident), range(len(template.models))
    held, merged = HeldStatistics(), _one_hot(template, None, ())
    resident.become(merged, held)
    walks = [Walk(resident, list(parts.stack), _items(plan, resident, i)) for i in experts]
    outside = [Grams(parts.outside) for _ in experts]

    def watch(names: Sequence[str], grams: Sequence[Grams], run: Callable[[Walk], None]) -> None:
        """Let every expert's examples run through its own weights of `names`; then merge those."""
        for expert in experts:
            resident.become(_one_hot(template, expert, names), held)
            with grams[expert].watch():
                run(walks[expert])
        held.put(_by_name([own.means() for own in grams]))
        resident.become(merged, held)

    watch(parts.outside_names, outside, Walk.enter)
    for walk in walks:
        walk.enter()
    for layer, linears in enumerate(parts.inside):
        grams = [Grams(linears) for _ in experts]
        if linears:
            watch(parts.names[layer], grams, partial(Walk.run, layer=layer, go_on=False))
        for expert in experts:
            _write(writer, expert, grams[expert], note)
            walks[expert].run(layer, go_on=True)
        note(f"layer {layer + 1} of {len(parts.stack)}")
    for expert in experts:
        with outside[expert].watch():
            walks[expert].leave()
        _write(writer, expert, outside[expert], note)


def _items(plan: StatisticsPlan, resident: ResidentModel, expert: int) -> list[Item]:
    return make_items(resident, plan.observed[expert], plan.split, plan.items)


def _alone(template: Recipe, expert: int) -> Recipe:
    """One expert's own weights in the target."""
    source = Source(template.models[expert].model, {"weight": (Entry(None, 1.0),)})
    plain = replace(template, parameters={}, statistics=None)
    return replace(plain, method="linear", models=(source,), base_model=None)


def _one_hot(template: Recipe, expert: int | None, names: Sequence[str]) -> Recipe:
    """The merge with equal weights, but for the named parameters, which are one expert's own."""
    models = tuple(
        Source(
            source.model,
            {"weight": (*(Entry(n, float(i == expert)) for n in names), Entry(None, 1.0))},
        )
        for i, source in enumerate(template.models)
    )
    return replace(template, models=models)


def _by_name(means: Sequence[Mapping[str, Tensor]]) -> dict[str, list[Tensor]]:
    """The experts' matrices by the name of the parameter."""
    return {name: [own[name] for own in means] for name in means[0]}


def _write(writer: StatisticsWriter, expert: int, grams: Grams, note: Note) -> None:
    for name, tensor in grams.means().items():
        writer.write(expert, name, tensor)
    for name in grams.silent():
        note(f"expert {expert + 1}: no example reaches {name}; its matrix is 0")
