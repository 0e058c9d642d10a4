"""Names that a checkpoint's tensors have on disk, where the library's names in memory differ."""

from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from merge_ops.hub import weight_files


def disk_names(folder: Path, model: nn.Module) -> dict[str, str]:
    """The checkpoint's own name of every parameter that it holds as one tensor.

    Found by transformers' own rules for loading, read backwards. Tensors that loading fuses from
    several have no name of their own on disk and are left out.

    Args:
        folder: the checkpoint.
        model: loaded from it.

    Returns:
        Names on disk by parameter name.
    """
    loaded: Any = model
    rules = get_model_conversion_mapping(loaded)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    state = model.state_dict()
    found = {}
    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 (not a dict)
                name, fused = rename_source_key(
                    key, renamings, converters, loaded.base_model_prefix, state
                )
                if fused is None and name in state:
                    found[name] = key
    return found
