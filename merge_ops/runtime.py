"""Where and how a live model runs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from merge_ops.devices import check_device
from merge_ops.kernels import Mode
from merge_ops.memory import free_memory


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and how the live model runs.

    Raises `UserError` where this machine has no such device.

    Attributes:
        device: a torch device, such as "cpu" or "cuda:0".
        attention: transformers' `attn_implementation`, or None for its default.
        image_backend: "pil" or "torchvision", or None for transformers' choice.
        kernels: whether merge kernels are compiled; see `merge_ops.kernels.Kernels`.
        memory: bytes of each device that may be used, or None for what is free.
        shard: spread the live model over all devices of that kind, and main memory if needed.
        report: is told the plan, and whatever takes long.
    """

    device: str = "cpu"
    attention: str | None = None
    image_backend: str | None = None
    kernels: Mode = "auto"
    memory: int | None = None
    shard: bool = False
    report: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        check_device(self.device)

    def place(self) -> torch.device:
        """The device by its whole name, as tensors on it have it: "cuda" is the current one."""
        if self.device == "cuda":
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device(self.device)

    def usable(self, device: torch.device) -> int:
        """Bytes of a device that may be used."""
        free = free_memory(device)
        return free if self.memory is None else min(free, self.memory)
