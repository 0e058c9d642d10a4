"""What is found once about the models beside the live one, for all candidates."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.jobs import Job, Key
from merge_ops.magnitudes import Place, Ranks, rank
from merge_ops.sources import Sources
from merge_ops.spherical import angle_cosine


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Largest magnitudes, ranks and angles, by what they are of.

    Attributes:
        sources: the models.
    """

    sources: Sources
    _ranks: dict[Key, Ranks] = field(default_factory=dict)
    _cosines: dict[Key, float] = field(default_factory=dict)
    _largest: dict[Key, float] = field(default_factory=dict)

    def check(self, job: Job) -> None:
        """Refuse models that hold something not finite, which a method might drop unseen."""
        for model in dict.fromkeys([*([job.base] if job.base else []), *job.experts]):
            if (job.name, model) in self._largest:
                continue
            weights = self.sources.weights(model, job.name)
            if weights.numel() and not math.isfinite(self.largest((job.name, model), weights)):
                raise UserError(
                    f"{job.name}: weights must be finite, but those of {model} are not; mend the "
                    "model, or add the tensor to mergetuna.exclude."
                )

    def end(self, key: Key, operand: Tensor, k: int) -> Place:
        """Where the k largest of an operand end."""
        if key not in self._ranks:
            self._ranks[key] = rank(operand)
        return self._ranks[key](operand, k)

    def cosine(self, job: Job) -> float:
        """Of the angle between the base and the one expert."""
        key = (job.name, str(job.base), job.experts[0])
        if key not in self._cosines:
            ends = (self.sources.weights(model, job.name) for model in key[1:])
            a, b = (end.float().flatten() for end in ends)
            self._cosines[key] = float(angle_cosine(a, b))
        return self._cosines[key]

    def largest(self, key: Key, tensor: Tensor) -> float:
        """The largest magnitude; kept if it is finite."""
        if key not in self._largest:
            low, high = tensor.aminmax()
            found = float(torch.maximum(-low, high))
            if not math.isfinite(found):
                return found
            self._largest[key] = found
        return self._largest[key]
