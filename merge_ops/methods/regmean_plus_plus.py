"""RegMean++: RegMean on the inputs that reach each layer through the merged layers below it."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from merge_ops.knobs import Knob, Shares
from merge_ops.methods.regmean import regmean
from merge_ops.registry import merge_op
from merge_ops.traits import Traits


@merge_op(
    paper="RegMean++: Enhancing effectiveness and generalization of regression mean for model "
    "merging, arXiv:2508.03121",
    needs_base=False,
    traits=Traits(statistics="grams", through_merged=True),
    name="regmean++",
)
def regmean_plus_plus(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Shares,
    grams: Sequence[Tensor] = (),
    a: Annotated[float, Knob(0.0, 1.0, default=0.9)] = 0.9,
) -> Tensor:
    """RegMean's solution; only the inputs that G_i = X_i^T X_i is made of are others.

    For a tensor of layer l, X_i is what expert i's own layer l sees when layers 0 to l-1 are
    merged already.

    Args:
        base: gives only the dtype of the result.
        experts: W_i, each of the base's shape.
        weight: of each expert's loss; all 1 in the paper.
        grams: G_i, one (in, in) per expert; none for a parameter without inputs (a vector, an
            embedding), which takes the mean.
        a: factor of the off-diagonal entries.

    Raises:
        UserError: Gram matrices that do not fit the weights, a weight below 0, or all of them 0.
    """
    return regmean(base, experts, weight=weight, grams=grams, a=a)
