"""The search space: which knobs vary over which groups, and how numbers become a recipe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from merge_ops.errors import UserError, did_you_mean
from merge_ops.layout import Layout
from merge_ops.lowering import lower
from merge_ops.recipe import Entry, Recipe, Setting, Source
from merge_ops.registry import Value
from merge_ops.rewriting import Rewrite, find_method
from search.dimension import Choice, Coordinate, Dimension, Point

ATTENTION = ("self_attn", "input_layernorm")
"""Filters of a layer's attention half; the rest of the layer is its MLP half."""


@dataclass(frozen=True, slots=True)
class KnobRange:
    """The interval in which one knob is searched."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """All recipes that a search may propose.

    A knob of one whole number for the whole recipe is searched as a number in [low, high + 1)
    whose whole part counts, so that every whole number from low to high has the same share.
    A choice is one value for the whole recipe.

    Attributes:
        template: the recipe whose searched settings are filled in.
        labels: a short name for each of its models.
        ranges: the searched knobs; none where the method has none: then it holds one recipe.
        layers: number of text layers.
        bands: how many groups of neighbouring layers; 1 is one value for the whole depth.
        halves: attention and MLP of a band have values of their own.
        names: canonical names of the merged tensors; methods that rewrite a recipe want them.
        choices: knobs and options that are searched over a short list of values.
    """

    template: Recipe
    labels: tuple[str, ...]
    ranges: Mapping[str, KnobRange]
    layers: int
    bands: int = 1
    halves: bool = False
    names: tuple[str, ...] = ()
    choices: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        op = find_method(self.template.method)
        for name in self.ranges:
            if name not in op.knobs:
                hint = did_you_mean(name, op.knobs)
                raise UserError(f"{op.name} has no knob {name!r} to search{hint}")
        if isinstance(op, Rewrite) and not self.names:
            raise ValueError(f"{op.name} is searched over named tensors, but `names` is empty.")
        if op.knobs and not (self.ranges or self.choices):
            raise UserError(f"a search needs a knob; {op.name} has {', '.join(op.knobs)}.")
        if not 1 <= self.bands <= self.layers:
            raise UserError(
                f"bands must lie between 1 and the number of text layers, {self.layers}, "
                f"but is {self.bands}."
            )

    def dimensions(self) -> list[Coordinate]:
        """Everything that is searched, in a fixed order; the choices stand last."""
        return [*self._numbers(), *self._choices()]

    def _numbers(self) -> list[Dimension]:
        op = find_method(self.template.method)
        found = []
        for knob, span in self.ranges.items():
            if op.knobs[knob].whole:
                high = span.high + 1
                found.append(Dimension(knob, span.low, high, (span.low + high) / 2))
                continue
            default = min(max(op.knobs[knob].default, span.low), span.high)
            owners = self.labels if op.knobs[knob].per_expert else ("",)
            found += [
                Dimension(self._name(knob, owner, group), span.low, span.high, default)
                for owner in owners
                for group in self.groups()
            ]
        return found

    def _choices(self) -> list[Choice]:
        """A search begins at the method's own default if it is listed, else at the first value."""
        op = find_method(self.template.method)
        defaults = {**op.options, **{name: knob.default for name, knob in op.knobs.items()}}
        return [
            Choice(name, values, defaults[name] if defaults[name] in values else values[0])
            for name, values in self.choices.items()
        ]

    def solutions(self) -> list[Recipe]:
        """One recipe for each task vector that a method has to solve; none if it solves none.

        Those are the combinations of the choices; the scale is free, and so left out.
        """
        traits = find_method(self.template.method).traits
        if not traits.solve:
            return []
        start: dict[str, Value] = {d.name: d.default for d in self.dimensions()}
        lists = [
            [(name, value) for value in values]
            for name, values in self.choices.items()
            if name != traits.scale
        ]
        return [self.decode({**start, **dict(some)}) for some in product(*lists)]

    def groups(self) -> list[str]:
        """Names of the groups: one per band, or one per band and half."""
        if self.bands == 1 and not self.halves:
            return [""]
        halves = ("attention", "mlp") if self.halves else ("",)
        return [".".join(filter(None, (str(b), h))) for b in range(self.bands) for h in halves]

    def band(self, layer: int) -> int:
        """The band that a layer lies in."""
        return layer * self.bands // self.layers

    def uniform(self, weights: Sequence[float], others: Mapping[str, float]) -> dict[str, Value]:
        """The point with one weight per expert at every depth.

        Args:
            weights: of each expert, moved into the searched range.
            others: values of other searched knobs; those not named take their defaults, and so
                does every choice.
        """
        point: dict[str, Value] = {choice.name: choice.default for choice in self._choices()}
        for dimension in self._numbers():
            knob, _, rest = dimension.name.partition(".")
            value = others.get(knob, dimension.default)
            if knob == "weight":
                value = weights[self.labels.index(rest.split(".")[0])]
            point[dimension.name] = min(max(value, dimension.low), dimension.high)
        return point

    def decode(self, values: Point) -> Recipe:
        """The recipe that a point stands for, in the terms of a tensor op.

        Args:
            values: one value per dimension, by its name.

        Raises:
            UserError: fixed or searched values that do not fit the models' layers.
        """
        op = find_method(self.template.method)
        common = dict(self.template.parameters)
        common |= {name: (Entry(None, values[name]),) for name in self.choices}
        models = [dict(m.parameters) for m in self.template.models]
        for knob, span in self.ranges.items():
            if op.knobs[knob].whole:
                number = math.floor(min(float(values[knob]), span.high))
                common[knob] = (Entry(None, number),)
            elif op.knobs[knob].per_expert:
                for label, own in zip(self.labels, models, strict=True):
                    own[knob] = self._setting(knob, label, values)
            else:
                common[knob] = self._setting(knob, "", values)
        sources = tuple(
            Source(m.model, own) for m, own in zip(self.template.models, models, strict=True)
        )
        base = self.template.task_base(op)  # mergekit would merge a base that the method ignores
        recipe = replace(self.template, models=sources, parameters=common, base_model=base)
        return lower(recipe, Layout(self.layers, self.names))

    def _setting(self, knob: str, owner: str, values: Point) -> Setting:
        """One knob of one expert over depth."""

        def at(group: str) -> float:
            return float(values[self._name(knob, owner, group)])

        if self.groups() == [""]:
            return (Entry(None, at("")),)
        halves = ("attention", "mlp") if self.halves else ("",)
        curves: dict[str, tuple[float, ...]] = {
            half: tuple(
                at(".".join(filter(None, (str(self.band(layer)), half))))
                for layer in range(self.layers)
            )
            for half in halves
        }
        norm = Entry("model.norm", curves[halves[-1]][-1])  # behind the last layer
        attention = [Entry(f, curves["attention"]) for f in ATTENTION] if self.halves else []
        return (norm, *attention, Entry(None, curves[halves[-1]]))

    @staticmethod
    def _name(knob: str, owner: str, group: str) -> str:
        return ".".join(filter(None, (knob, owner, group)))
