"""The search space: which knobs vary over which groups, and what its coordinates are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from merge_ops.errors import UserError, did_you_mean
from merge_ops.knobs import Knob
from merge_ops.method import Method
from merge_ops.recipe import Recipe
from merge_ops.registry import Value
from merge_ops.rewriting import Rewrite, find_method
from search.coupling import Coupling, from_experts, owners
from search.decoding import controls_of, decoded
from search.depth import Depth
from search.dimension import Choice, Coordinate, Dimension, Point
from search.modules import WHOLE, Module
from search.naming import METHOD, SEED, dimension_name


@dataclass(frozen=True, slots=True)
class KnobRange:
    """The interval in which one knob is searched.

    Attributes:
        low: smallest value.
        high: largest value.
        log: on a logarithmic scale.
        coupled: how the values of several experts hang together.
    """

    low: float
    high: float
    log: bool = False
    coupled: Coupling = "free"


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """All recipes that a search may propose.

    A knob of one whole number for the whole recipe is searched as a number in [low, high + 1)
    whose whole part counts, so that every whole number from low to high has the same share.
    A choice is one value for the whole recipe; the choice `method` is of the method itself, and
    each method takes those of the searched and fixed settings that it knows. The choice `seed` is
    of random masks.

    Attributes:
        template: the recipe whose searched settings are filled in.
        labels: a short name for each of its models.
        ranges: the searched knobs; none where the method has none: then it holds one recipe.
        depth: where over depth a knob has values of its own.
        modules: which parts of a layer have values of their own.
        names: canonical names of the merged tensors; methods that rewrite a recipe want them.
        choices: knobs and options that are searched over a short list of values.
        frozen: values that are not searched, by patterns of the names of dimensions.
        method_per_group: every group has a choice `method` of its own, such as "method.2.mlp".
    """

    template: Recipe
    labels: tuple[str, ...]
    ranges: Mapping[str, KnobRange]
    depth: Depth
    modules: tuple[Module, ...] = WHOLE
    names: tuple[str, ...] = ()
    choices: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    frozen: Mapping[str, float] = field(default_factory=dict)
    method_per_group: bool = False

    def __post_init__(self) -> None:
        methods = self.methods()
        known = {name: knob for op in methods for name, knob in op.knobs.items()}
        title = " or ".join(op.name for op in methods)
        for name in self.ranges:
            if name not in known:
                hint = did_you_mean(name, known)
                raise UserError(f"{title} has no knob {name!r} to search{hint}")
        if any(isinstance(op, Rewrite) for op in methods) and not self.names:
            raise ValueError(f"{title} is searched over named tensors, but `names` is empty.")
        if known and not (self.ranges or self.choices):
            raise UserError(f"a search needs a knob; {title} has {', '.join(known)}.")
        numbers = [dimension.name for dimension in self._numbers()]
        for pattern in self.frozen:
            if not any(fnmatchcase(name, pattern) for name in numbers):
                raise UserError(
                    f"search.freeze: {pattern!r} is none of the searched values "
                    f"({', '.join(numbers[:4])} ...){did_you_mean(pattern, numbers)}"
                )

    @property
    def layers(self) -> int:
        """Number of text layers."""
        return self.depth.layers

    def methods(self) -> list[Method]:
        """Every method that a recipe of this space may have."""
        names = self.choices.get(METHOD, (self.template.method,))
        return [find_method(str(name)) for name in names]

    def knob(self, name: str) -> Knob:
        """What the first method that has it says of a knob."""
        return next(op.knobs[name] for op in self.methods() if name in op.knobs)

    def dimensions(self) -> list[Coordinate]:
        """Everything that is searched, in a fixed order; the choices stand last."""
        numbers = [d for d in self._numbers() if self.frozen_at(d.name) is None]
        return [*numbers, *self._choices()]

    def _numbers(self) -> list[Dimension]:
        """All numbers, frozen ones included."""
        found = []
        for name, span in self.ranges.items():
            knob = self.knob(name)
            if knob.whole:
                high = span.high + 1
                found.append(Dimension(name, span.low, high, (span.low + high) / 2))
                continue
            low, high, log = span.low, span.high, span.log
            if span.coupled == "simplex":
                low, high, log = 0.0, 1.0, False
            for i, one in enumerate(self.owners(name)):
                default = min(max(knob.default, low), high)
                if span.coupled == "simplex":
                    equal = [1 / len(self.labels)] * len(self.labels)
                    default = (from_experts("simplex", equal) or [])[i]
                found += [
                    Dimension(dimension_name(name, one, group), low, high, default, log, place)
                    for place, group in self.placed_groups()
                ]
        return found

    def placed_groups(self) -> list[tuple[int, str]]:
        """The groups with their places over depth."""
        return [(i // len(self.modules), group) for i, group in enumerate(self.groups())]

    def lists(self) -> dict[str, tuple[Value, ...]]:
        """What is searched over a list, by the name of its coordinate."""
        found: dict[str, tuple[Value, ...]] = {}
        for name, values in self.choices.items():
            own = self.method_names() if name == METHOD else (name,)
            found |= dict.fromkeys(own, values)
        return found

    def method_names(self) -> tuple[str, ...]:
        """Names of the choices of a method: one, or one per group."""
        groups = self.groups() if self.method_per_group else [""]
        return tuple(dimension_name(METHOD, "", group) for group in groups)

    def with_method(self, point: Point, name: str) -> dict[str, Value]:
        """A point with one method everywhere."""
        return {**point, **dict.fromkeys(self.method_names(), name)}

    def _choices(self) -> list[Choice]:
        """A search begins at the method's own default if it is listed, else at the first value."""
        defaults: dict[str, Value] = {METHOD: self.template.method, SEED: self.template.seed}
        for op in reversed(self.methods()):
            defaults |= {**op.options, **{name: knob.default for name, knob in op.knobs.items()}}
        defaults |= dict.fromkeys(self.method_names(), self.template.method)
        return [
            Choice(
                name,
                values,
                defaults[name] if defaults[name] in values else values[0],
                ordered=name != SEED,
            )
            for name, values in self.lists().items()
        ]

    def owners(self, knob: str) -> tuple[str, ...]:
        """Whose values of a knob are searched: experts, or one for all."""
        if not self.knob(knob).per_expert:
            return ("",)
        return owners(self.ranges[knob].coupled, self.labels)

    def groups(self) -> list[str]:
        """Names of the groups: one per place over depth and part of a layer."""
        places = [""] if self.depth.places == 1 else [str(i) for i in range(self.depth.places)]
        parts = [module.name for module in self.modules]
        if places == [""] and len(parts) > 1:
            places = ["0"]
        return [".".join(filter(None, (place, part))) for place in places for part in parts]

    def frozen_at(self, name: str) -> float | None:
        """The value at which a number is frozen; None where it is searched."""
        return next((v for p, v in self.frozen.items() if fnmatchcase(name, p)), None)

    def decode(self, values: Point) -> Recipe:
        """The recipe that a point stands for, in the terms of a tensor op.

        Args:
            values: one value per dimension, by its name.

        Raises:
            UserError: fixed or searched values that do not fit the models' layers.
        """
        return decoded(self, values)

    def controls(self, knob: str, values: Point) -> dict[str, list[list[float]]]:
        """A knob's values by part of a layer: for each expert (or all), one per place."""
        return controls_of(self, knob, values)
