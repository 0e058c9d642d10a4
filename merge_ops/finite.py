"""That no weight is infinite or NaN, neither in what is merged nor in what comes of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merge_ops.engine import Job
from merge_ops.errors import UserError
from merge_ops.sources import Sources


@dataclass(slots=True)
class FiniteCheck:
    """Checks of tensors; models are looked at once.

    A method that selects entries may leave out an expert's NaN, so finite results prove nothing
    about what went in.

    Attributes:
        sources: the models beside the live one.
    """

    sources: Sources
    _sound: set[tuple[str, str]] = field(default_factory=set)

    def check_inputs(self, jobs: Sequence[tuple[str, Job]]) -> None:
        """Check what has not been checked yet of the tensors that jobs merge, with one sync.

        Args:
            jobs: canonical names, and what is written under them.

        Raises:
            UserError: a model holds weights that are infinite or NaN; model and tensor are named.
        """
        pairs = [
            (model, name)
            for name, job in jobs
            for model in dict.fromkeys([*([job.base] if job.base else []), *job.experts])
            if (model, name) not in self._sound
        ]
        bad = _infinite(self.sources.weights(model, name) for model, name in pairs)
        if bad is not None:
            model, name = pairs[bad]
            weights = self.sources.weights(model, name)
            count = int((~weights.isfinite()).sum())
            raise UserError(
                f"{name}: weights must be finite, but {count} of {weights.numel()} in {model} "
                "are infinite or NaN; the checkpoint is damaged."
            )
        self._sound |= set(pairs)

    def check_results(self, merged: Mapping[str, Tensor]) -> None:
        """Check merged tensors, by canonical name, with one sync.

        Raises:
            UserError: one of them holds infinite or NaN weights; it is named.
        """
        bad = _infinite(merged.values())
        if bad is not None:
            name = list(merged)[bad]
            raise UserError(f"{name}: merged weights must be finite, but this recipe's are not.")


def _infinite(tensors: Iterable[Tensor]) -> int | None:
    """The first of the tensors that holds a value that is infinite or NaN; one at a time."""
    flags = [tensor.isfinite().all() for tensor in tensors]
    if not flags:
        return None
    finite = torch.stack(flags)
    return None if bool(finite.all()) else int(finite.int().argmin())
