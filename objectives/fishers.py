"""The diagonal of a model's Fisher matrix, from an objective's gold answers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.observation import Item, hidden_states


def diagonal_fishers(
    live: LiveModel, items: Sequence[Item], parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Mean over examples of the squared gradient of the gold answer's log-likelihood.

    The diagonal of Matena and Raffel, arXiv:2111.09832, in its empirical form: the answers are
    the data's own, not sampled from the model. One example at a time, since the square is of each
    example's own gradient.

    Args:
        live: the model as it is now; its weights are only read.
        items: the examples.
        parameters: whose entries are asked for; zeros where the likelihood does not depend on
            them.

    Returns:
        float32 tensors in the shapes of the parameters.

    Raises:
        ObjectiveError: a log-likelihood is not finite; the example is named.
    """
    sums = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    with _differentiable(list(parameters.values())):
        for item in items:
            hidden = [hidden_states(live, passage) for passage in item.passages]
            value = item.log_likelihood(live, hidden)
            if not bool(value.isfinite()):
                raise ObjectiveError(
                    f"{item.objective.name}: {item.example.id}: the log-likelihood of its answer "
                    f"must be finite, but is {float(value.detach())}."
                )
            slopes = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            for total, slope in zip(sums.values(), slopes, strict=True):
                if slope is not None:
                    total += slope.float() ** 2
            del slopes, slope  # the next gradients need their place
    return {name: total.div_(len(items)) for name, total in sums.items()}


@contextmanager
def _differentiable(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let gradients flow into these parameters, inside the block."""
    before = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad = True
        with torch.enable_grad():
            yield
    finally:
        for parameter, own in zip(parameters, before, strict=True):
            parameter.requires_grad = own
