"""Reading models with transformers: safetensors only, no remote code, nothing left random."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn

from merge_ops.adapter import open_adapter
from merge_ops.adapter_file import read_adapter_file
from merge_ops.disk_names import Place, contents
from merge_ops.edits import apply_edit
from merge_ops.errors import UserError, first_line
from merge_ops.hub import adapter_folder, model_folder, weight_files

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HEAD_FILE = "reward_head.safetensors"
"""Beside the weights of an exported reward model: its score head."""

_COUNTS = ("layers", "n_layer", "depth", "num_experts", "num_blocks", "stages")
"""Parts of the keys in configs that say how many modules are built."""
_SIZES = ("image_size", "hidden_size", "patch_size", "vocab_size", "_heads", "_layers", "_dim")
_FEW = 256  # of them cost nothing

transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def load_model(reference: str, dtype: str | None, *, attention: str | None = None) -> nn.Module:
    """Load a model of the class that its config names, on the CPU, in evaluation mode.

    Args:
        reference: a folder, a hub id, or `model+adapter`.
        dtype: a key of `DTYPES`, or None for the checkpoint's own.
        attention: transformers' `attn_implementation`, or None for its default.

    Raises:
        UserError: the class is unknown, or weights or adapter do not fit it exactly.
    """
    folder = model_folder(reference)
    kind, _ = _model_class(folder, reference)
    options: dict[str, Any] = {"dtype": DTYPES[dtype] if dtype else "auto"}
    if attention:
        options["attn_implementation"] = attention
    try:
        model, info = kind.from_pretrained(
            folder,
            use_safetensors=True,
            output_loading_info=True,
            local_files_only=True,
            **options,
        )
    except Exception as error:  # a hostile config makes the library raise anything
        reason = first_line(error)
        raise UserError(f"{reference}: the checkpoint cannot be loaded: {reason}") from None
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        if info.get(problem):
            raise UserError(
                f"{reference}: every tensor of {kind.__name__} must be in the checkpoint, "
                f"but {problem.replace('_', ' ')} are {sorted(map(str, info[problem]))[:3]}."
            )
    model.eval().requires_grad_(requires_grad=False)
    _put_on(reference, model)
    return model  # type: ignore[no-any-return]


def _put_on(reference: str, model: nn.Module) -> None:
    """Write what the adapter of `model+adapter` makes of the model's tensors, one by one."""
    adapter = open_adapter(reference, model)
    for name, parameter in model.named_parameters():  # tied ones once
        if adapter is not None and name in adapter.edits:
            parameter.data = apply_edit(adapter.edits[name], parameter.data)


def empty_model(reference: str) -> nn.Module:
    """The model without weights, on the meta device: names, shapes, ties and the config's dtype.

    Raises:
        UserError: the class is unknown, or the config does not describe one.
    """
    folder = model_folder(reference)
    kind, config = _model_class(folder, reference)
    try:
        with torch.device("meta"):
            model: nn.Module = kind._from_config(config)
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"{reference}: config.json does not describe a model: {reason}") from None
    return model.eval().requires_grad_(requires_grad=False)


def _model_class(folder: Path, reference: str) -> tuple[Any, Any]:
    """The class that the config names, and the config."""
    try:
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        _check_depth(stated, reference, sum(map(_count, weight_files(folder))))
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except UserError:
        raise
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"{reference}: config.json cannot be read: {reason}") from None
    if _is_quantised(config.to_dict()):
        raise UserError(
            f"{reference}: weights must be floating point, but config.json has a "
            "quantization_config; dequantise the model first (transformers: model.dequantize(), "
            "then save_pretrained), or use the original checkpoint."
        )
    listed = config.architectures
    named = listed[0] if listed and isinstance(listed, list) else ""
    kind = getattr(transformers, named, None) if isinstance(named, str) else None
    made_from = getattr(kind, "config_class", None)
    if made_from is None or not isinstance(config, made_from):
        raise UserError(
            f"{reference}: config.json must name a class of transformers "
            f"{transformers.__version__} for {config.model_type!r:.80} in `architectures`, but "
            f"names {named!r:.80}."
        )
    dtype = getattr(config, "dtype", None)
    if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
        raise UserError(f"{reference}: `dtype` in config.json must be a float, but is {dtype}.")
    return kind, config


def _check_depth(config: object, reference: str, tensors: int) -> None:
    """Refuse a config of negative sizes, or of more layers than the files can hold.

    Each layer (or expert, or block) holds a tensor, so that there are no more than tensors.
    """
    if isinstance(config, list):
        for part in config:
            _check_depth(part, reference, tensors)
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        _check_depth(value, reference, tensors)
        if isinstance(value, int) and value < 0 and key.endswith(_SIZES):
            raise UserError(
                f"{reference}: sizes in config.json must not be negative, but {key} is {value}."
            )
        counts = isinstance(value, int) and any(word in key for word in _COUNTS)
        if counts and value > max(tensors, _FEW):
            raise UserError(
                f"{reference}: config.json must describe what the files hold, but says {key} = "
                f"{value!r:.80}, and they hold only {tensors} tensors."
            )


def _count(path: Path) -> int:
    """How many tensors a file holds."""
    try:
        with safe_open(path, "pt") as file:
            return len(file.keys())
    except (SafetensorError, OSError) as error:
        reason = first_line(error)
        raise UserError(f"{path}: it cannot be read as safetensors: {reason}") from None


def _is_quantised(config: Mapping[str, Any]) -> bool:
    """Whether a config, or that of a part of the model, says how its weights are packed."""
    parts = [part for part in config.values() if isinstance(part, Mapping)]
    return bool(config.get("quantization_config")) or any(map(_is_quantised, parts))


def load_score_head(reference: str) -> nn.Linear:
    """The score head of a reward model, in its own dtype: (hidden size) -> (1).

    Read from the text reward model's own weights, from the file that an export puts beside a
    VLM's, or from an adapter that was trained with its head.

    Raises:
        UserError: the model has no head with one output.
    """
    tensors: dict[str, torch.Tensor] = {}
    for key, place in _head_places(reference).items():
        with safe_open(place.path, "pt") as file:
            tensors[key] = file.get_tensor(place.key)
    weight = tensors.get("weight")
    if weight is None or weight.ndim != 2 or weight.shape[0] != 1:
        shape = "none" if weight is None else tuple(weight.shape)
        raise UserError(
            f"{reference}: a reward head is a tensor `score.weight` of one row, but found {shape}."
        )
    head = nn.Linear(weight.shape[1], 1, bias="bias" in tensors, dtype=weight.dtype)
    head.load_state_dict(tensors)
    return head.eval().requires_grad_(requires_grad=False)


def _head_places(reference: str) -> dict[str, Place]:
    """Where weight and bias of a score head stand; an adapter's own replace the model's."""
    folder, adapter = model_folder(reference), adapter_folder(reference)
    own = folder / HEAD_FILE
    files = [own] if own.exists() else weight_files(folder)
    found = {place.key: place for path in files for place in contents(path)}
    if adapter is not None:
        file = read_adapter_file(adapter, reference)
        if "score" in file.factors:
            raise UserError(
                f"{reference}: a reward head must be whole, but the adapter has factors for it; "
                "merge it with PEFT (merge_and_unload), save the model, and use that."
            )
        found |= file.whole
    keys = {f"score.{key}": key for key in ("weight", "bias")}
    return {key: found[name] for name, key in keys.items() if name in found}
