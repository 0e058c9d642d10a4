"""Finding out what models hold and share, from their headers alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from merge_ops.checkpoint import Checkpoint, open_checkpoints
from merge_ops.disk_names import disk_names
from merge_ops.errors import UserError
from merge_ops.recipe import Recipe
from merge_ops.tensors import MergedTensor, SharedTensors, share


@dataclass(frozen=True, slots=True)
class Opened:
    """Models that are known by name and shape, and not loaded.

    Attributes:
        checkpoints: by reference; the target first.
        sources: references of the models beside the live one.
        shared: what all of them have in common.
        tensors: what recipes write.
        numels: elements of each of those, by canonical name.
    """

    checkpoints: Mapping[str, Checkpoint]
    sources: Sequence[str]
    shared: SharedTensors
    tensors: Sequence[MergedTensor]
    numels: Mapping[str, int]

    @property
    def target(self) -> Checkpoint:
        """The model that becomes live."""
        return next(iter(self.checkpoints.values()))

    def own_name(self, reference: str, name: str) -> str:
        """A model's own name of a tensor."""
        return self.shared.names[list(self.checkpoints).index(reference)][name]

    def notes(self) -> list[str]:
        """What the user should know about the models' adapters, a line each."""
        adapters = [checkpoint.adapter for checkpoint in self.checkpoints.values()]
        return [note for adapter in adapters if adapter for note in adapter.notes]

    def owner(self, reference: str, name: str) -> str:
        """The source that holds a tensor for a model: itself, or one that has the same tensor.

        Models with an adapter share what it leaves as it is with the model, and with each other.
        """
        if self._is_computed(reference, name):
            return reference
        model = self.checkpoints[reference].model
        alike = [ref for ref in self.sources if self.checkpoints[ref].model is model]
        return next(ref for ref in alike if not self._is_computed(ref, name))

    def size(self, reference: str) -> int:
        """Bytes of those tensors of a model that are merged, and that it holds by itself."""
        held = [n for name, n in self.numels.items() if self.owner(reference, name) == reference]
        return sum(held) * self.checkpoints[reference].dtype.itemsize

    def largest_computed(self) -> int:
        """Elements of the largest merged tensor that an adapter changes."""
        sizes = [
            numel
            for reference in self.sources
            for name, numel in self.numels.items()
            if self._is_computed(reference, name)
        ]
        return max(sizes, default=0)

    def _is_computed(self, reference: str, name: str) -> bool:
        return self.checkpoints[reference].is_computed(self.own_name(reference, name))


def open_models(recipe: Recipe, also: Sequence[str] = ()) -> Opened:
    """Read the headers of a target and all models of `recipe` (and those named in `also`).

    Raises:
        UserError: a model cannot be read, or does not fit the target.
    """
    target = recipe.kept_from()
    named = [recipe.base_model, *(m.model for m in recipe.models), *also]
    sources = list(dict.fromkeys(ref for ref in named if ref))
    checkpoints = open_checkpoints([target, *sources], recipe.dtype)
    names = disk_names(checkpoints[target].places)
    models = [checkpoint.model for checkpoint in checkpoints.values()]
    shared = share(models, names, list(checkpoints))
    for name, reason in shared.misfits.items():
        if not recipe.excludes(name):
            raise UserError(f"{name} {reason}; add it to mergetuna.exclude to keep the target's.")
    tensors = [tensor for tensor in shared.tensors if not recipe.excludes(tensor.name)]
    parameters = dict(checkpoints[target].model.named_parameters(remove_duplicate=False))
    numels = {t.name: parameters[shared.names[0][t.name]].numel() for t in tensors}
    return Opened(checkpoints, sources, shared, tensors, numels)
