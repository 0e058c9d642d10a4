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
