"""A live model over several devices: which part lies where, decided before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from merge_ops.errors import UserError
from merge_ops.plan import readable

HOST = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Shards:
    """Which part of a model lies where.

    Attributes:
        device_map: devices by paths of modules; "" is the whole model. Parts on the CPU beside an
            accelerator are offloaded: copied to the main device for each forward pass.
        main: where inputs go in, and where offloaded parts are computed.
    """

    device_map: Mapping[str, torch.device]
    main: torch.device

    def home(self, name: str) -> torch.device:
        """Where a parameter's weights lie, and so where it is merged; by its name in the model."""
        parts = name.split(".")
        paths = (".".join(parts[:i]) for i in range(len(parts), -1, -1))
        return next(self.device_map[path] for path in paths if path in self.device_map)

    def devices(self) -> list[torch.device]:
        """Every device that holds something, the main one first."""
        return list(dict.fromkeys([self.main, *self.device_map.values()]))


def on_one(device: torch.device) -> Shards:
    """The whole model on one device."""
    return Shards({"": device}, device)


def shard(model: nn.Module, dtype: torch.dtype, free: Mapping[torch.device, int]) -> Shards:
    """Spread a model evenly over accelerators; what they cannot hold goes to main memory.

    Layers stay whole, and tied parameters together.

    Args:
        model: without weights, on the meta device.
        dtype: of its parameters.
        free: bytes that may be used on each device, the accelerators in order, then `cpu`.

    Raises:
        UserError: devices and main memory together cannot hold it; the numbers are given.
    """
    from accelerate.utils.modeling import get_balanced_memory, infer_auto_device_map

    whole = list(getattr(model, "_no_split_modules", None) or ())
    most = {d.index if d.type == "cuda" else str(d): size for d, size in free.items()}
    balanced: Any = get_balanced_memory(model, most, whole, dtype)
    found = infer_auto_device_map(model, balanced, no_split_module_classes=whole, dtype=dtype)
    if "disk" in found.values():
        size = sum(p.numel() for p in model.parameters()) * dtype.itemsize
        listed = ", ".join(f"{device} {readable(size)}" for device, size in free.items())
        raise UserError(
            f"the live model takes {readable(size)}, more than its devices and main memory have "
            f"free ({listed}); offloading to disk is not supported. Use a smaller dtype, more "
            "devices, or free memory on these."
        )
    devices = {path: _device(where) for path, where in found.items()}
    main = next((d for d in devices.values() if d != HOST), HOST)
    return Shards(devices, main)


def _device(where: int | str) -> torch.device:
    """As accelerate names devices: accelerators by number."""
    return torch.device("cuda", where) if isinstance(where, int) else torch.device(where)


def spread(module: nn.Module, shards: Shards) -> None:
    """Move a model's parts to their devices; hooks of accelerate bring activations along.

    Raises:
        UserError: a tied parameter would lie in two places.
    """
    if len(shards.devices()) == 1:
        module.to(shards.main)
        return
    from accelerate import dispatch_model

    tied: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        first = tied.setdefault(id(parameter), name)
        if shards.home(first) != shards.home(name):
            raise UserError(f"{first} and {name} are tied and must lie on one device.")
    named: Any = {path: str(device) for path, device in shards.device_map.items()}
    kept = getattr(module, "_skip_keys_device_placement", None)  # caches have layers everywhere
    dispatch_model(module, named, main_device=str(shards.main), skip_keys=kept)
