"""NearSwap: move to the other model where the two are already close."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from merge_ops.knobs import Knob
from merge_ops.registry import merge_op
from merge_ops.task_vectors import task_vectors
from merge_ops.traits import End, Traits


@merge_op(
    paper="huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
    max_experts=1,
    traits=Traits(ends=(End("t", 0.0, "base"),)),
)
def nearswap(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    t: Annotated[float, Knob(1e-5, 0.1, log=True, default=0.001)] = 0.001,
) -> Tensor:
    """theta_0 + min(1, t / |tau|) tau: no entry moves by more than t.

    In a recipe the base may be listed; the other model is the expert.

    Args:
        base: theta_0.
        experts: one tensor of the base's shape.
        t: in units of the weights.
    """
    (tau,) = task_vectors(base, experts)
    share = (t / tau.abs().clamp_min(1e-6)).clamp_max(1.0)
    return (base.float() + share * tau).to(base.dtype)
