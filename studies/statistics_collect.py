"""Collecting statistics: the live model becomes each expert, reads examples, and is watched."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from merge_ops.decoder import find_decoder
from merge_ops.expert_statistics import HeldStatistics, linears_of
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.resident import ResidentModel
from merge_ops.statistics_writer import StatisticsWriter
from objectives.fishers import diagonal_fishers
from objectives.grams import Grams
from objectives.layerwise import Walk
from objectives.observation import Item, make_items
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


@dataclass(frozen=True, slots=True)
class _Parts:
    """The merged linear layers of the live model, in the order in which they run.

    Attributes:
        stack: the decoder's layers.
        names: for each of them, the canonical names of its merged parameters.
        inside: for each of them, its merged linear layers.
        outside: merged linear layers before and behind the stack.
        outside_names: canonical names of all merged parameters outside the stack.
    """

    stack: nn.ModuleList
    names: tuple[tuple[str, ...], ...]
    inside: tuple[dict[str, tuple[nn.Linear, ...]], ...]
    outside: dict[str, tuple[nn.Linear, ...]]
    outside_names: tuple[str, ...]


def _parts(resident: ResidentModel) -> _Parts:
    stack = find_decoder(resident.module).stack
    linears = linears_of(resident.module, resident.parameters)
    owners = {id(p): i for i, layer in enumerate(stack) for p in layer.parameters()}
    places = {name: owners.get(id(p)) for name, p in resident.parameters.items()}
    names = tuple(tuple(n for n, own in places.items() if own == i) for i in range(len(stack)))
    return _Parts(
        stack=stack,
        names=names,
        inside=tuple({n: linears[n] for n in own if n in linears} for own in names),
        outside={n: own for n, own in linears.items() if places[n] is None},
        outside_names=tuple(n for n, own in places.items() if own is None),
    )


def _grams(
    plan: StatisticsPlan,
    template: Recipe,
    resident: ResidentModel,
    writer: StatisticsWriter,
    note: Note,
) -> None:
    """Inputs in the expert itself; one layer at a time, so that one layer's matrices are held."""
    parts, count = _parts(resident), len(template.models)
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
    parts, experts = _parts(resident), range(len(template.models))
    held, stack = HeldStatistics(), list(parts.stack)
    merged = _one_hot(template, None, ())
    resident.become(merged, held)
    walks = [Walk(resident, stack, _items(plan, resident, i)) for i in experts]
    outside = [Grams(parts.outside) for _ in experts]
    for expert in experts:
        resident.become(_one_hot(template, expert, parts.outside_names), held)
        with outside[expert].watch():
            walks[expert].enter()
    held.put(_by_name([own.means() for own in outside]))
    resident.become(merged, held)
    for walk in walks:
        walk.enter()
    for layer, linears in enumerate(parts.inside):
        means = []
        for expert in experts if linears else ():
            resident.become(_one_hot(template, expert, parts.names[layer]), held)
            grams = Grams(linears)
            with grams.watch():
                walks[expert].run(layer, go_on=False)
            means.append(_write(writer, expert, grams, note))
        held.put(_by_name(means) if means else {})
        resident.become(merged, held)
        for walk in walks:
            walk.run(layer, go_on=True)
        note(f"layer {layer + 1} of {len(stack)}")
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


def _write(writer: StatisticsWriter, expert: int, grams: Grams, note: Note) -> dict[str, Tensor]:
    """Write one expert's matrices; returns them."""
    means = grams.means()
    for name, tensor in means.items():
        writer.write(expert, name, tensor)
    for name in grams.silent():
        note(f"expert {expert + 1}: no example reaches {name}; its matrix is 0")
    return means
