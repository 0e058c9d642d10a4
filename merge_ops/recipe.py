"""The recipe: a frozen, canonical description of one merged model."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from merge_ops.method import Method
from merge_ops.registry import Value, get_op

Gradient = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a setting: a value for the tensors whose canonical name contains `filter`.

    Attributes:
        filter: a substring of the name, or None for every tensor.
        value: one value, or a gradient over depth (see `at_depth`).
    """

    filter: str | None
    value: Value | Gradient


Setting = tuple[Entry, ...]
"""A parameter's entries; the first whose filter matches wins."""


@dataclass(frozen=True, slots=True)
class Source:
    """One model that is merged, with its own parameters."""

    model: str
    parameters: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatisticsRef:
    """The file of statistics that a method takes; see `merge_ops.statistics_file`.

    Attributes:
        path: where it lies; it decides no weight.
        sha256: of the file, in hex.
        place: where a recipe file names it ("recipe.yaml:9:3"), for messages.
    """

    path: str
    sha256: str
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Slice:
    """Neighbouring layers with settings of their own, whose gradients run over them alone.

    Attributes:
        first: index of its first layer.
        end: index behind its last layer.
        sources: the models that are merged in it.
        parameters: its settings; they hold where a source's own are silent.
    """

    first: int
    end: int
    sources: tuple[Source, ...]
    parameters: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MethodGroup:
    """Tensors that are merged by a method of their own.

    Attributes:
        method: its name.
        layers: index of the first layer and the one behind the last; None for any depth, outside
            the layers too.
        filter: a substring of the canonical names, or None for any.
    """

    method: str
    layers: tuple[int, int] | None = None
    filter: str | None = None

    def holds(self, name: str, layer: int | None) -> bool:
        """Whether the tensor is one of them."""
        if self.filter is not None and self.filter not in name:
            return False
        if self.layers is None:
            return True
        return layer is not None and self.layers[0] <= layer < self.layers[1]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One merged model, in the terms of mergekit plus the `mergetuna:` block.

    Attributes:
        method: name of the merge method; with `groups`, of all that is in none of them.
        models: the experts (and the target, where its own weights are merged).
        base_model: the model that task vectors are taken from, if the method needs one.
        parameters: top-level settings; they hold where a model's own are silent.
        dtype: in which weights are loaded and task vectors taken; None for their own.
        out_dtype: of the result; None for `dtype`.
        target: whose vision tower, projector and unmerged tensors are kept; None stands for a
            plain mergekit configuration, whose target is the base, else the first model.
        reward_head: the model whose score head is grafted on the target.
        exclude: substrings of the canonical names that are kept from the target.
        towers: the model whose tower stands in the target's place, by the tower's name; see
            `merge_ops.towers`.
        template: whose chat template formats prompts: "target", "reward_head" or a file.
        seed: of every random mask.
        statistics: the file that a method with statistics reads, else None.
        tasks: of a method that gives one view per expert: the expert's model by the task's name.
        provenance: where the recipe came from; it decides no weight.
        slices: as mergekit's, in order and without gaps; `merge_ops.rewriting.lower` puts them
            into `models`, which until then only names the models.
        groups: tensors with a method of their own; the first that holds a tensor counts. Settings
            are looked up as ever, and each method takes those that it knows.
    """

    method: str
    models: tuple[Source, ...]
    base_model: str | None = None
    parameters: Mapping[str, Setting] = field(default_factory=dict)
    dtype: str | None = None
    out_dtype: str | None = None
    target: str | None = None
    reward_head: str | None = None
    exclude: tuple[str, ...] = ()
    towers: Mapping[str, str] = field(default_factory=dict)
    template: str = "target"
    seed: int = 0
    statistics: StatisticsRef | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()
    groups: tuple[MethodGroup, ...] = ()

    def methods(self) -> tuple[str, ...]:
        """Names of all its merge methods, each once; `method` is the first."""
        return tuple(dict.fromkeys([self.method, *(group.method for group in self.groups)]))

    def method_at(self, name: str, layer: int | None) -> str:
        """The method that merges a tensor."""
        found = (group.method for group in self.groups if group.holds(name, layer))
        return next(found, self.method)

    def kept_from(self) -> str:
        """The model that gives everything that is not merged, but for `towers`."""
        return self.target or self.base_model or self.models[0].model

    def references(self) -> tuple[str, ...]:
        """Every model that the weights depend on, each once, in a fixed order."""
        named = [self.kept_from(), self.base_model, *(m.model for m in self.models)]
        named += [self.reward_head, *self.towers.values()]
        return tuple(dict.fromkeys(ref for ref in named if ref))

    def task_base(self, op: Method) -> str | None:
        """The model that task vectors are taken from, or None where weights are merged as such."""
        return self.base_model if op.needs_base or op.traits.base_switch else None

    def experts(self, op: Method) -> list[int]:
        """Indices into `models` of what the method merges: a task vector's base is left out."""
        base = self.task_base(op)
        return [i for i, source in enumerate(self.models) if source.model != base]

    def has_views(self) -> bool:
        """Whether it stands for several models at once: a view for each of its tasks.

        With the option that picks a view (`expert` of emr) a recipe is that one model.
        """
        views = get_op(self.method).traits.views if self.tasks else None
        return views is not None and views not in self.parameters

    def excludes(self, name: str) -> bool:
        """Whether the tensor of this canonical name is kept from the target."""
        return any(part in name for part in self.exclude)

    def digest(self, identities: Mapping[str, str] | None = None, rows: str = "") -> str:
        """Sha256, in hex, over all that decides a weight.

        Args:
            identities: what stands for a model in the digest, by reference; the sums of the
                models' own files make the digest independent of where they lie.
            rows: what tells which rows of embeddings and head are merged, if they are not all.
        """
        known = identities or {}

        def name(reference: str | None) -> str | None:
            return None if reference is None else known.get(reference, reference)

        content: list[Any] = [
            self.method,
            [[name(m.model), _plain_settings(m.parameters)] for m in self.models],
            name(self.base_model),
            _plain_settings(self.parameters),
            [self.dtype, self.out_dtype],
            [name(self.kept_from()), name(self.reward_head)],
            sorted(self.exclude),
            self.seed,
        ]
        if self.statistics is not None:
            content.append({"statistics": self.statistics.sha256})
        if rows:
            content.append({"rows": rows})
        if self.slices:
            content.append([_plain_slice(part, name) for part in self.slices])
        if self.groups:
            content.append({"methods": [[g.method, g.layers, g.filter] for g in self.groups]})
        if self.towers:
            content.append({"towers": {key: name(model) for key, model in self.towers.items()}})
        if self.has_views():
            content.append(sorted([task, name(model)] for task, model in self.tasks.items()))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _plain_settings(settings: Mapping[str, Setting]) -> dict[str, Any]:
    return {k: [[e.filter, e.value] for e in setting] for k, setting in settings.items()}


def _plain_slice(part: Slice, name: Callable[[str | None], str | None]) -> list[Any]:
    sources = [[name(s.model), _plain_settings(s.parameters)] for s in part.sources]
    return [part.first, part.end, sources, _plain_settings(part.parameters)]
