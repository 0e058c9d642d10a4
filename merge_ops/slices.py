"""Slices of equal depth, as settings over the whole depth: the values that mergekit computes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from merge_ops.layout import Layout, MisfitError, is_behind, layer_of
from merge_ops.recipe import Entry, Recipe, Setting, Slice, Source
from merge_ops.registry import MergeOp, Value, get_op
from merge_ops.resolving import interpolate

ABSENT_AT_ZERO = frozenset(
    {
        "breadcrumbs",
        "breadcrumbs_ties",
        "dare_linear",
        "dare_ties",
        "della",
        "della_linear",
        "linear",
        "task_arithmetic",
        "ties",
    }
)
"""Methods to which a model of weight 0 is the same as a model that is not there."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor stands: the settings that hold there, and how far along their gradients."""

    sources: tuple[Source, ...]
    parameters: Mapping[str, Setting]
    t: float


def may_differ(method: str) -> bool:
    """Whether the slices of a recipe of this method may merge different models."""
    return method == "passthrough" or method in ABSENT_AT_ZERO


def lower_slices(recipe: Recipe, layout: Layout) -> Recipe:
    """The same model without slices: settings with one value per layer.

    As in mergekit 0.1.5, a gradient runs over each slice anew, t = i/(n-1) for layer i of n, and
    t = 1 in a slice of one layer. Embeddings take the first slice's settings at t = 0, the final
    norm and the head the last slice's at t = 0. A source's own settings come first, then the
    slice's, then the top ones. A model that is not in a slice has weight 0 there; layers passed
    through from different models become a sum with weights 0 and `scale`.

    Args:
        recipe: with slices.
        layout: the tensors.

    Raises:
        MisfitError: the slices end before or behind the models' last layer.
    """
    end = recipe.slices[-1].end
    if end != layout.layers:
        text = f"slices: they end at layer {end}, but the models have {layout.layers} layers"
        raise MisfitError(("slices",), f"{text}; a slice for every layer keeps the depth")
    op = get_op(recipe.method)
    places = {name: _place(recipe.slices, name) for name in layout.names}
    keys = _keys(recipe)
    own = {
        key: [
            {n: _own(recipe, op, key, model.model, place, n) for n, place in places.items()}
            for model in recipe.models
        ]
        for key in op.parameters()
        if _per_expert(op, key) and (key in keys or _is_weight(recipe, key))
    }
    models = tuple(
        Source(m.model, {key: layout.values(columns[i]) for key, columns in own.items()})
        for i, m in enumerate(recipe.models)
    )
    common = {
        key: layout.values({n: _common(recipe, op, key, p, n) for n, p in places.items()})
        for key in op.parameters()
        if key in keys and not _per_expert(op, key)
    }
    whole = replace(recipe, models=models, parameters=common, slices=())
    summed = recipe.method == "passthrough" and len(models) > 1
    return _without_idle_base(_summed(whole) if summed else whole)


def _per_expert(op: MergeOp, key: str) -> bool:
    return key in op.knobs and op.knobs[key].per_expert


def _is_weight(recipe: Recipe, key: str) -> bool:
    """The parameter that is 0 for a model that a slice leaves out, if any slice does."""
    same = all(len(part.sources) == len(recipe.models) for part in recipe.slices)
    return not same and key == ("scale" if recipe.method == "passthrough" else "weight")


def _keys(recipe: Recipe) -> set[str]:
    """Every parameter that is set anywhere."""
    settings = [recipe.parameters, *(part.parameters for part in recipe.slices)]
    settings += [source.parameters for part in recipe.slices for source in part.sources]
    return {key for each in settings for key in each}


def _place(slices: Sequence[Slice], name: str) -> _Place:
    """Which slice's settings hold for a tensor, and where along their gradients it lies."""
    layer = layer_of(name)
    if layer is None:
        part = slices[-1] if is_behind(name) else slices[0]
        # mergekit takes as many models behind the layers as the first slice has
        return _Place(part.sources[: len(slices[0].sources)], part.parameters, 0.0)
    part = next(s for s in slices if s.first <= layer < s.end)
    count = part.end - part.first
    t = (layer - part.first) / (count - 1) if count > 1 else 1.0
    return _Place(part.sources, part.parameters, t)


def _own(recipe: Recipe, op: MergeOp, key: str, model: str, place: _Place, name: str) -> Value:
    """A per-expert parameter of one model for one tensor."""
    source = next((s for s in place.sources if s.model == model), None)
    if source is None:
        return 0.0 if _is_weight(recipe, key) else op.knobs[key].default
    chain = (source.parameters, place.parameters, recipe.parameters)
    found = _first(chain, key, place.t, name)
    return op.knobs[key].default if found is None else found


def _common(recipe: Recipe, op: MergeOp, key: str, place: _Place, name: str) -> Value:
    """A parameter with one value for all models, for one tensor."""
    found = _first((place.parameters, recipe.parameters), key, place.t, name)
    if found is not None:
        return found
    return op.knobs[key].default if key in op.knobs else op.options[key]


def _first(chain: Sequence[Mapping[str, Setting]], key: str, t: float, name: str) -> Value | None:
    """The first entry of the first settings that matches the tensor's name, at t."""
    for settings in chain:
        for entry in settings.get(key, ()):
            if entry.filter is None or entry.filter in name:
                return interpolate(entry.value, t)
    return None


def _summed(recipe: Recipe) -> Recipe:
    """Passthrough from several models as their sum, all but one of which have weight 0."""
    models = tuple(Source(m.model, {"weight": m.parameters["scale"]}) for m in recipe.models)
    common: dict[str, Setting] = {"normalize": (Entry(None, value=False),)}
    return replace(recipe, method="linear", models=models, parameters=common)


def _without_idle_base(recipe: Recipe) -> Recipe:
    """Name a base that the method has no use for as the target: mergekit would merge it."""
    if recipe.base_model is None or recipe.task_base(get_op(recipe.method)):
        return recipe
    return replace(recipe, base_model=None, target=recipe.kept_from())
