"""Multi-SLERP: barycentric interpolation of any number of models on the sphere."""

from collections.abc import Sequence

import torch
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.knobs import Shares
from merge_ops.registry import merge_op
from merge_ops.spherical import units
from merge_ops.task_vectors import weighted_sum
from merge_ops.traits import Traits

_NO_DIRECTION = 1e-6  # a mean of unit vectors that is shorter points nowhere in float32


@merge_op(
    paper="mergekit's method guide: Multi-SLERP",
    needs_base=False,
    traits=Traits(base_switch="task_vectors"),
)
def multislerp(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Shares,
    normalize_weights: bool = True,
    eps: float = 1e-8,
    task_vectors: bool = False,
) -> Tensor:
    """The direction of the weighted mean of unit vectors, with the weighted mean of the norms.

    Tensors are taken as flat vectors. The tangent space in which mergekit averages lies at the
    weighted mean itself, where the weighted sum of the projected unit vectors is zero, so that
    mean is the result. Where the directions cancel, the weighted sum of the tensors takes its
    place.

    In a recipe, naming a base_model turns `task_vectors` on, and the base is then no expert.

    Args:
        base: theta_0; without `task_vectors` it gives only the dtype of the result.
        experts: theta_i, each of the base's shape.
        weight: w_i, one per expert.
        normalize_weights: divide the weights by their sum.
        eps: added to norms before dividing by them.
        task_vectors: merge the task vectors rather than the weights, and add the base.

    Raises:
        UserError: `normalize_weights` with weights that sum to 0.
    """
    total = sum(weight)
    if normalize_weights and abs(total) < 1e-8:
        raise UserError(
            f"multislerp with normalize_weights needs weights that do not sum to 0, but got "
            f"{list(weight)}; change a weight or set normalize_weights: false."
        )
    shares = [w / total for w in weight] if normalize_weights else list(weight)
    vectors = [(e - base if task_vectors else e).float().flatten() for e in experts]
    merged = _barycentre(vectors, shares, eps).view(base.shape)
    return (base.float() + merged if task_vectors else merged).to(base.dtype)


def _barycentre(flat: Sequence[Tensor], shares: Sequence[float], eps: float) -> Tensor:
    norms = [x.norm() + eps for x in flat]
    directions = [x / norm for x, norm in zip(flat, norms, strict=True)]
    middle = weighted_sum(directions, shares)
    turned = units(middle)[0] * weighted_sum(norms, shares)
    plain = weighted_sum(flat, shares)
    return torch.where(middle.norm() > _NO_DIRECTION, turned, plain)
