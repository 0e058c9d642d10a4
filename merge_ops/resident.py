"""The live model and what it is made from; only `become` writes weights."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from merge_ops.decoder import find_decoder
from merge_ops.engine import Engine
from merge_ops.errors import UserError
from merge_ops.expert_statistics import ExpertStatistics, NoStatistics, RowStatistics
from merge_ops.jobs import Job, solved_key
from merge_ops.live_tensors import input_device, live_tensors
from merge_ops.opening import Opened
from merge_ops.processors import load_processor
from merge_ops.recipe import Recipe
from merge_ops.registry import MergeOp, check_experts, get_op
from merge_ops.resolving import resolve
from merge_ops.solving import Follow, Solvable, each_shape_first
from merge_ops.statistics_file import open_statistics
from merge_ops.template import apply_template
from merge_ops.tensors import MergedTensor, Part
from merge_ops.terms import check_terms, shared_terms
from merge_ops.writing import write_jobs


class ResidentModel:
    """A target that becomes one candidate after another, in place.

    The target lives on its device with the base and the experts beside it. Every candidate is
    computed from those, never from the candidate before it, so `become(a); become(b)` leaves the
    same bits as `become(b)`. A tensor whose settings did not change is not written again.

    Attributes:
        module: the live model.
        decoder: its text decoder.
        score_head: the grafted reward head, hidden size -> 1, or None.
        layers: number of text layers that depth is measured against.
        vocabulary: which rows of embeddings and head recipes write, in words; empty if none.
        first_changed_layer: the lowest layer that the last `become` wrote; `layers` if it wrote
            nothing that a layer sees.
    """

    def __init__(
        self,
        module: nn.Module,
        score_head: nn.Module | None,
        opened: Opened,
        engine: Engine,
        recipe: Recipe,
        image_backend: str | None = None,
    ) -> None:
        """Use `load_resident`; `recipe` gives the terms that all recipes of this model share."""
        self.module = module
        self.decoder = find_decoder(module).module
        self.score_head = score_head
        self.layers = opened.shared.layers
        self.vocabulary = opened.vocabulary
        self.first_changed_layer = 0
        self._tensors = opened.tensors
        self._rows = opened.rows
        self._engine = engine
        self._terms = shared_terms(recipe)
        self._image_backend = image_backend
        live = live_tensors(module)
        self._live = {t.name: live[opened.shared.names[0][t.name]] for t in self._tensors}
        for tensor in self._live.values():
            tensor.find()  # what cannot be written is refused now
        self._written: dict[str, object] = {}
        self._opened: tuple[object, ExpertStatistics] | None = None

    @property
    def device(self) -> torch.device:
        """Where the live model takes its inputs."""
        return input_device(self.module)

    @cached_property
    def processor(self) -> Any:
        """The target's processor (or tokenizer), with the chat template that the recipe names."""
        terms = self._terms
        loaded = load_processor(terms.kept_from(), self._image_backend)
        return apply_template(loaded, terms.template, terms.reward_head)

    @property
    def merged_names(self) -> list[str]:
        """Canonical names of the tensors that recipes write."""
        return [tensor.name for tensor in self._tensors]

    @property
    def rows_sha256(self) -> str:
        """Sha256, in hex, of which rows are merged of tensors that keep others; else empty."""
        if not self._rows:
            return ""
        listed = [[name, rows.index.tolist()] for name, rows in sorted(self._rows.items())]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The live parameters that recipes write, by canonical name; read them only.

        Raises:
            UserError: a parameter is offloaded, and so not there between forward passes.
        """
        found = {name: tensor.parameter() for name, tensor in self._live.items()}
        for name, parameter in found.items():
            if parameter.device.type == "meta":
                raise UserError(
                    f"{name}: statistics need every merged parameter on a device, but it is "
                    "offloaded to main memory; use more devices or a smaller dtype."
                )
        return found

    @torch.no_grad()
    def become(self, recipe: Recipe, statistics: ExpertStatistics | None = None) -> None:
        """Write the merged weights of `recipe` into the live model.

        Args:
            recipe: of the resident models.
            statistics: taken instead of the file that the recipe names.

        Raises:
            UserError: the recipe is of other models or terms than the resident ones, names
                statistics that do not fit, or gives a weight that is not finite; the parameter is
                named.
        """
        op = get_op(recipe.method)
        self._check(recipe)
        given = self._statistics(recipe, op) if statistics is None else statistics
        if self._rows and op.traits.statistics == "fishers":
            given = RowStatistics(given, self._rows)
        changed = self._changed(recipe, given)
        try:
            jobs = [(tensor.name, job) for tensor, _, job in changed]
            write_jobs(self._engine, self._live, jobs)
        except BaseException:
            self._written.clear()  # what is live is part of each, and not checked
            raise
        self._written |= {tensor.name: key for tensor, key, _ in changed}
        depths = [t.layer or 0 for t, _, _ in changed if not _is_behind(t)]
        self.first_changed_layer = min(depths, default=self.layers)

    @torch.no_grad()
    def prepare(self, recipes: Sequence[Recipe], follow: Follow = iter) -> None:
        """Solve and keep what these recipes need; `become` then solves nothing. Writes no weight.

        Args:
            recipes: of one method; where it has nothing to solve, nothing is done.
            follow: is given all that is solved, one tensor of each shape first.

        Raises:
            UserError: a recipe is of other models or terms than the resident ones, or its method
                refuses a parameter.
        """
        order = {tensor.name: i for i, tensor in enumerate(self._tensors)}
        found: dict[object, Solvable] = {}
        for recipe in recipes:
            self._check(recipe)
            for tensor, job in self._jobs(recipe, NoStatistics()):
                live = self._live[tensor.name].parameter()
                shape = live.shape if job.rows is None else job.rows.shape(live.shape)
                if not (job.op.traits.solve and shape.numel()):
                    continue
                one = Solvable(job, tuple(shape), shape.numel() * live.element_size())
                found.setdefault(solved_key(job), one)
        unsolved = sorted(found.values(), key=lambda one: order[one.job.name])
        for one in follow(each_shape_first(unsolved)):
            self._engine.solve(one.job)

    def inputs(self, recipe: Recipe) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
        """What `recipe` merges: the live parameter's name in `module`, its base, its experts.

        Of a tensor of which only some rows are merged, base and experts hold those.

        Raises:
            UserError: the recipe is of other models or terms than the resident ones.
        """
        self._check(recipe)
        op = get_op(recipe.method)
        sources, base = self._engine.sources, recipe.task_base(op)
        models = [recipe.models[i].model for i in recipe.experts(op)]
        for tensor in self._tensors:
            experts = [sources.weights(model, tensor.name) for model in models]
            start = sources.weights(base, tensor.name) if base else experts[0]
            yield self._live[tensor.name].name, start, experts

    def fingerprint(self, part: Part) -> str:
        """A digest of all that decides the weights of one part of the live model."""
        written = [(t.name, self._written.get(t.name)) for t in self._tensors if t.part == part]
        return hashlib.sha256(repr(written).encode()).hexdigest()

    def _check(self, recipe: Recipe) -> None:
        check_terms(recipe, self._terms, self._engine.sources.references())

    def _statistics(self, recipe: Recipe, op: MergeOp) -> ExpertStatistics:
        """What the recipe's file holds; opened and checked once, read tensor by tensor."""
        wanted = (op.name, recipe.statistics, tuple(source.model for source in recipe.models))
        if self._opened is None or self._opened[0] != wanted:
            parameters = {name: tensor.parameter() for name, tensor in self._live.items()}
            opened = open_statistics(recipe, op, self.module, parameters)
            self._opened = (wanted, opened)
        return self._opened[1]

    def _changed(
        self, recipe: Recipe, given: ExpertStatistics
    ) -> list[tuple[MergedTensor, object, Job]]:
        """The tensors that the recipe writes differently from what they hold, with their keys."""
        changed: list[tuple[MergedTensor, object, Job]] = []
        for tensor, job in self._jobs(recipe, given):
            own = given.key(tensor.name)
            seed = recipe.seed if job.op.random else None
            key = (job.op.name, job.base, tuple(job.experts), seed, repr(job.values), own)
            if self._written.get(tensor.name) != key:
                changed.append((tensor, key, job))
        return changed

    def _jobs(self, recipe: Recipe, given: ExpertStatistics) -> Iterator[tuple[MergedTensor, Job]]:
        """What writes each tensor, by its own method, with these statistics.

        Raises:
            UserError: a method cannot merge so many experts.
        """
        ops = {name: get_op(name) for name in recipe.methods()}
        merged = {
            name: [recipe.models[i].model for i in recipe.experts(op)] for name, op in ops.items()
        }
        for name, op in ops.items():
            check_experts(op, len(merged[name]))
        for tensor in self._tensors:
            op = ops[recipe.method_at(tensor.name, tensor.layer)]
            base, experts = recipe.task_base(op), merged[op.name]
            values = resolve(recipe, op, tensor.name, tensor.layer, self.layers)
            rows = self._rows.get(tensor.name)
            yield tensor, Job(tensor.name, op, base, experts, values, recipe.seed, given, rows)


def _is_behind(tensor: MergedTensor) -> bool:
    """The final norm and the heads lie behind the layers: what the layers compute still holds."""
    return tensor.layer is None and tensor.name.startswith(("model.norm", "lm_head.", "score."))
