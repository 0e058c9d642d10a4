"""Linear merging: a weighted average of the models' weights."""

from collections.abc import Sequence

from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.formula import Facts, Formula
from merge_ops.knobs import Shares
from merge_ops.registry import merge_op
from merge_ops.task_vectors import TINY, scaled, weighted_sum
from merge_ops.traits import Traits


def _shares(weight: Sequence[float], *, normalize: bool) -> list[float]:
    if normalize and abs(sum(weight)) < TINY:
        raise UserError(
            f"linear with normalize needs weights that do not sum to 0, but got {list(weight)}; "
            "change a weight or set normalize: false."
        )
    return scaled(weight, normalize=normalize)


def _formula(facts: Facts, *, weight: Sequence[float], normalize: bool = True) -> Formula:  # noqa: ARG001
    return Formula(_shares(weight, normalize=normalize))


@merge_op(
    paper="Wortsman et al., Model soups, arXiv:2203.05482",
    needs_base=False,
    traits=Traits(formula=_formula),
)
def linear(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Shares,
    normalize: bool = True,
) -> Tensor:
    """Sum w_i theta_i, divided by sum w_i if `normalize`.

    Args:
        base: gives only the dtype of the result.
        experts: the models' weights, each of the base's shape.
        weight: w_i, one per expert.
        normalize: divide by the sum of the weights.

    Raises:
        UserError: `normalize` with weights that sum to 0.
    """
    shares = _shares(weight, normalize=normalize)
    return weighted_sum([e.float() for e in experts], shares).to(base.dtype)
