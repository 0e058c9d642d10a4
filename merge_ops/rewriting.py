"""Rewrites: methods that put other numbers into a whole recipe instead of touching a tensor."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from merge_ops.knobs import Knob
from merge_ops.layout import Layout
from merge_ops.recipe import Recipe, Source
from merge_ops.registry import MergeOp, Value, all_ops, get_op
from merge_ops.traits import Traits
from merge_ops.yaml_file import Location

RewriteFn = Callable[[Recipe, Layout], Recipe]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A registered rewrite.

    Attributes:
        name: as in a recipe's `merge_method`.
        fn: `fn(recipe, layout) -> recipe` of a method that is a tensor op; pure.
        knobs: what can be searched, by its name in YAML.
        paper: where the method is defined.
        required: knobs without which the method has no meaning.
        min_experts: the fewest models it merges.
        max_experts: the most, or None for any number.
        beside_target: the target is not counted among them.
        options: none; every parameter is a knob.
        needs_base: never; weights are merged as such.
        traits: none.
    """

    name: str
    fn: RewriteFn
    knobs: Mapping[str, Knob]
    paper: str
    required: tuple[str, ...] = ()
    min_experts: int = 1
    max_experts: int | None = None
    beside_target: bool = False
    options: Mapping[str, Value] = field(default_factory=dict)
    needs_base: bool = False
    traits: Traits = field(default_factory=Traits)

    def parameters(self) -> list[str]:
        """Every name that a recipe may set, sorted."""
        return sorted(self.knobs)

    def experts(self, recipe: Recipe) -> list[str]:
        """The models that it merges."""
        target = recipe.kept_from() if self.beside_target else None
        return [source.model for source in recipe.models if source.model != target]

    def misfits(self, recipe: Recipe) -> list[tuple[Location, str]]:
        """What a recipe of this method lacks, with the key at fault."""
        problems: list[tuple[Location, str]] = []
        count = len(self.experts(recipe))
        if count < self.min_experts or (self.max_experts or count) < count:
            most = "" if self.max_experts == self.min_experts else " or more"
            beside = " beside the target" if self.beside_target else ""
            text = f"{self.name} merges {self.min_experts}{most} models{beside}, but got {count}"
            problems.append((("models",), f"models: {text}"))
        problems += [
            (("parameters",), f"parameters: {self.name} needs {key!r}")
            for key in self.required
            if key not in recipe.parameters
        ]
        return problems


_REWRITES: dict[str, Rewrite] = {}


def rewrite(
    *,
    paper: str,
    knobs: Mapping[str, Knob],
    required: tuple[str, ...] = (),
    max_experts: int | None = None,
    beside_target: bool = False,
) -> Callable[[RewriteFn], RewriteFn]:
    """Register the decorated function under its own name; the function itself is unchanged."""

    def register(fn: RewriteFn) -> RewriteFn:
        name = fn.__name__
        if name in _REWRITES or name in {op.name for op in all_ops()}:
            raise ValueError(f"The merge method {name!r} is already registered.")
        _REWRITES[name] = Rewrite(
            name=name,
            fn=fn,
            knobs=knobs,
            paper=paper,
            required=required,
            max_experts=max_experts,
            beside_target=beside_target,
        )
        return fn

    return register


@cache
def _discover() -> None:
    import merge_ops.rewrites

    for module in pkgutil.iter_modules(merge_ops.rewrites.__path__):
        importlib.import_module(f"merge_ops.rewrites.{module.name}")


def all_rewrites() -> list[Rewrite]:
    """Every rewrite, by name."""
    _discover()
    return [_REWRITES[name] for name in sorted(_REWRITES)]


def all_methods() -> list[MergeOp | Rewrite]:
    """Every name that a recipe's `merge_method` may have, tensor ops and rewrites, by name."""
    return sorted([*all_ops(), *all_rewrites()], key=lambda method: method.name)


LISTED = "; `mergetuna methods` lists them"
"""Of a name that is close to none."""


def find_method(name: str) -> MergeOp | Rewrite:
    """Look a method up.

    Raises:
        UserError: there is none of that name; the closest is named.
    """
    _discover()
    return _REWRITES[name] if name in _REWRITES else get_op(name)


def as_linear(
    recipe: Recipe, layout: Layout, weights: Callable[[str], Mapping[str, float]]
) -> Recipe:
    """A weighted mean of models, with weights for each tensor.

    Args:
        recipe: whose models and terms are kept. The target joins the models where it is needed.
        layout: the tensors.
        weights: of a tensor's canonical name gives weights by model; a model without one has 0.
    """
    table = {name: weights(name) for name in layout.names}
    target, models = recipe.kept_from(), [source.model for source in recipe.models]
    if target not in models and any(row.get(target) for row in table.values()):
        models = [target, *models]
    sources = [
        Source(m, {"weight": layout.values({n: row.get(m, 0.0) for n, row in table.items()})})
        for m in models
    ]
    # mergekit would merge a base that linear has no use for
    return replace(
        recipe,
        method="linear",
        models=tuple(sources),
        base_model=None,
        parameters={},
        target=target,
    )
