"""The devices of this machine, and whether one that is asked for is among them."""

import torch

from merge_ops.errors import UserError


def devices() -> list[str]:
    """Names of all devices on which a model can run here, the processor first."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ["cpu"]
    return ["cpu", *(f"{found.type}:{i}" for i in range(torch.accelerator.device_count()))]


def check_device(name: str) -> None:
    """Refuse a device that is not there, before anything is loaded for it.

    Args:
        name: such as "cpu", "cuda" or "cuda:1".

    Raises:
        UserError: it is no device, or not one of this machine; those that there are are named.
    """
    if name == "cpu":  # asks no driver
        return
    known = devices()
    if name not in known and f"{name}:0" not in known:
        raise UserError(
            f"device must be one of this machine, {', '.join(known)}, but is {name[:80]!r}."
        )


def check_attention(name: str | None) -> None:
    """Refuse an implementation of attention whose package is not there.

    Args:
        name: transformers' `attn_implementation`, or None for its default.

    Raises:
        UserError: the package is missing.
    """
    if name != "flash_attention_2":  # the others are torch's
        return
    from transformers.utils.import_utils import is_flash_attn_2_available, is_kernels_available

    if not (is_flash_attn_2_available() or is_kernels_available()):
        raise UserError(
            f"{name} needs a GPU and the package flash-attn or kernels, of which none is here; "
            "install one, or take sdpa."
        )
