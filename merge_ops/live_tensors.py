"""Where the weights of a live model lie, however accelerate has spread it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from merge_ops.errors import UserError


@dataclass(frozen=True, slots=True)
class LiveTensor:
    """One parameter of a live model; looked up each time, for accelerate replaces parameters.

    Attributes:
        name: its name in the model.
        owners: the modules that it lies in, the innermost first, with its name in each.
    """

    name: str
    owners: tuple[tuple[nn.Module, str], ...]

    def find(self) -> Tensor:
        """The memory that holds the weights between forward passes: what is written must go there.

        Of an offloaded parameter the module holds none (its device is `meta`, and writing it does
        nothing at all); its hook keeps the weights in main memory and copies them to the device
        for each forward pass.

        Raises:
            UserError: the weights are offloaded to disk, or there are none.
        """
        parameter = self.parameter()
        if parameter.device.type != "meta":
            return parameter
        for kept, name in self._kept():
            first, second = kept[name], kept[name]
            if first.data_ptr() != second.data_ptr() or first.device.type == "meta":
                raise UserError(
                    f"{self.name}: a live parameter must lie on a device or in main memory, but "
                    "is offloaded to disk; use more devices, or free main memory."
                )
            return first
        raise UserError(f"{self.name}: a live parameter must have weights, but it is on `meta`.")

    def parameter(self) -> nn.Parameter:
        """The parameter itself; on `meta` if it is offloaded."""
        module, leaf = self.owners[0]
        found: nn.Parameter = getattr(module, leaf)
        return found

    def _kept(self) -> Iterator[tuple[Mapping[str, Tensor], str]]:
        """What hooks keep of this parameter, and under which name."""
        for module, name in self.owners:
            for hook in _hooks(module):
                kept = getattr(hook, "weights_map", None)
                if getattr(hook, "offload", False) and kept is not None and name in kept:
                    yield kept, name


def live_tensors(module: nn.Module) -> dict[str, LiveTensor]:
    """Every parameter of a model by its name; tied ones by all their names."""
    modules = dict(module.named_modules())
    found = {}
    for name, _ in module.named_parameters(remove_duplicate=False):
        parts = name.split(".")
        owners = [
            (modules[".".join(parts[:i])], ".".join(parts[i:]))
            for i in reversed(range(len(parts)))
        ]
        found[name] = LiveTensor(name, tuple(owners))
    return found


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """The model's state dict with all weights in it, offloaded ones too."""
    state: dict[str, Tensor] = module.state_dict()
    live = live_tensors(module)
    return {n: live[n].find() if t.device.type == "meta" else t for n, t in state.items()}


def input_device(module: nn.Module) -> torch.device:
    """Where a model takes its inputs: the device of its first parameter, or of its hook."""
    name, parameter = next(module.named_parameters())
    if parameter.device.type != "meta":
        return parameter.device
    for owner, _ in live_tensors(module)[name].owners:
        for hook in _hooks(owner):
            device = getattr(hook, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return parameter.device


def _hooks(module: nn.Module) -> Iterator[Any]:
    """The hooks that accelerate has put on a module, one by one."""
    hook = getattr(module, "_hf_hook", None)
    yield from getattr(hook, "hooks", () if hook is None else (hook,))
