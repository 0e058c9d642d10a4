"""What an adapter makes of one tensor: as PEFT's `merge_and_unload` computes it, bit for bit."""

from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor

from merge_ops.adapter_file import Factors
from merge_ops.disk_names import Place
from merge_ops.errors import UserError


@dataclass(frozen=True, slots=True)
class Edit:
    """What an adapter does to one parameter: first replaces it, then adds to it.

    Attributes:
        adapter: its folder or hub id, for messages.
        whole: what replaces the parameter, or None.
        factors: of what is added, or None.
        scale: what their product is multiplied with.
        transposed: whether the weight is stored as (in features, out features), as in GPT-2.
    """

    adapter: str
    whole: Place | None = None
    factors: Factors | None = None
    scale: float = 1.0
    transposed: bool = False


def apply_edit(edit: Edit, weight: Tensor) -> Tensor:
    """The parameter with the adapter in it; the given one is not changed.

    weight + scale B A (LoRA, arXiv:2106.09685), or m (weight + scale B A) / |weight + scale B A|
    with the norm of each output's row (DoRA, arXiv:2402.09353). As in PEFT the factors are
    multiplied in float32 whatever they are stored in, and the sum is rounded once, to the
    weight's dtype (of embeddings the product is rounded, too).

    Args:
        edit: of this parameter.
        weight: the model's own, of any floating dtype.

    Returns:
        A tensor of the weight's shape and dtype.

    Raises:
        UserError: the adapter holds a value that is not finite; its tensor is named.
    """
    dtype = weight.dtype
    if edit.whole is not None:
        weight = _read(edit.whole, edit.adapter).to(dtype)
    factors = edit.factors
    if factors is None:
        return weight
    wide = torch.promote_types(torch.float32, dtype)
    a, b = (_read(place, edit.adapter).to(wide) for place in (factors.a, factors.b))
    turned = edit.transposed or factors.embedding
    product = b @ a  # (out, in)
    delta = (product.T if turned else product).mul_(edit.scale)
    if factors.embedding:
        delta = delta.to(dtype)  # PEFT rounds here already, of embeddings alone
    if factors.magnitude is None:
        return delta.add_(weight).to(dtype).contiguous()  # in place: one copy of one tensor
    plain = weight.T + delta.T if turned else weight + delta  # (out, in), summed in PEFT's order
    factor = _read(factors.magnitude, edit.adapter).to(wide) / torch.linalg.norm(plain, dim=1)
    merged = delta.add_(weight).mul_(factor if turned else factor[:, None])
    return merged.to(dtype).contiguous()


def _read(place: Place, adapter: str) -> Tensor:
    with safe_open(place.path, "pt") as file:
        tensor: Tensor = file.get_tensor(place.key)
    if not bool(tensor.isfinite().all()):
        raise UserError(
            f"{adapter}: weights must be finite, but {place.key} is not; the adapter is damaged "
            "or its training failed."
        )
    return tensor
