"""What adapter_config.json says: the scale of each low-rank update, and what is not supported."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from merge_ops.hub import ADAPTER_CONFIG

_MERGE = "merge it with PEFT (merge_and_unload), save the model, and use that"

_UNSUPPORTED: Mapping[str, str] = {
    "alora_invocation_tokens": "aLoRA acts behind certain tokens alone: no one set of weights",
    "arrow_config": "Arrow chooses adapters token by token and is no one set of weights",
    "ensure_weight_tying": f"tied adapters are not supported; {_MERGE}",
    "kasa_config": f"KaSA changes the model's own weights; {_MERGE}",
    "layer_replication": f"it changes the depth of the model; {_MERGE}",
    "lora_bias": f"a bias beside the factors is not supported; {_MERGE}",
    "monteclora_config": f"MonteCLoRA is not supported; {_MERGE}",
    "target_parameters": f"factors of fused parameters are not supported; {_MERGE}",
    "trainable_token_indices": f"single trained tokens are not supported; {_MERGE}",
    "use_bdlora": f"block-diagonal factors are not supported; {_MERGE}",
    "use_qalora": f"QALoRA is not supported; {_MERGE}",
}
"""Settings of PEFT's LoRA that a plain low-rank update does not express, and what to do."""

_PLAIN_STARTS = ("gaussian", "eva", "orthogonal")
"""Initialisations that leave the model's own weights as they are; others take a part out."""


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """The settings that decide a weight.

    Attributes:
        reference: the adapter's folder or hub id, for messages.
        trained_on: the model that it was trained on, as it names it; "" if it does not.
        rank: r where no pattern says otherwise.
        alpha: the same of lora_alpha.
        ranks: r by pattern.
        alphas: lora_alpha by pattern.
        root: whether the scale is alpha / sqrt(r) (rsLoRA, arXiv:2312.03732), not alpha / r.
    """

    reference: str
    trained_on: str
    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    root: bool

    def rank_of(self, *names: str) -> int:
        """The rank of a module, by the first of its names that a pattern meets."""
        return int(_pick(self.ranks, names, self.rank))

    def scale_of(self, *names: str) -> float:
        """What the product of a module's factors is multiplied with."""
        rank, alpha = self.rank_of(*names), _pick(self.alphas, names, self.alpha)
        return float(alpha / math.sqrt(rank) if self.root else alpha / rank)


def read_adapter_config(folder: Path, reference: str) -> AdapterConfig:
    """Read and check the file in an adapter's folder.

    Args:
        folder: where it lies.
        reference: what messages call the adapter.

    Raises:
        UserError: it is damaged, no LoRA, or a kind of LoRA that is not supported; named.
    """
    path = folder / ADAPTER_CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: it cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: it must be a mapping of settings, but is {content!r:.80}.")
    _check_kind(content, reference)
    return AdapterConfig(
        reference=reference,
        trained_on=str(content.get("base_model_name_or_path") or ""),
        rank=_number(content, "r", 8, path, whole=True),
        alpha=_number(content, "lora_alpha", 8, path),
        ranks=_patterns(content, "rank_pattern", path, whole=True),
        alphas=_patterns(content, "alpha_pattern", path),
        root=bool(content.get("use_rslora")),
    )


def _check_kind(content: Mapping[str, Any], reference: str) -> None:
    """Refuse by name what is not a plain low-rank update of weights (or DoRA)."""
    kind = content.get("peft_type")
    if kind != "LORA":
        raise UserError(
            f"{reference}: an adapter must be LoRA, but {ADAPTER_CONFIG} says peft_type "
            f"{kind!r}. If it can be merged, {_MERGE}."
        )
    for key, why in _UNSUPPORTED.items():
        if content.get(key):
            raise UserError(f"{reference}: {ADAPTER_CONFIG} sets {key}: {why}.")
    start = content.get("init_lora_weights", True)
    if isinstance(start, str) and start not in _PLAIN_STARTS:
        raise UserError(
            f"{reference}: {ADAPTER_CONFIG} sets init_lora_weights: {start}, which takes a part "
            "out of the model's own weights. Save the adapter with PEFT's "
            f"path_initial_model_for_weight_conversion, or {_MERGE}."
        )


def _number(
    content: Mapping[str, Any], key: str, default: int, path: Path, *, whole: bool = False
) -> Any:
    """A finite number, and a positive whole one where `whole`."""
    value = content.get(key, default)
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or (whole and value < 1):
        what = "a positive whole number" if whole else "a finite number"
        raise UserError(f"{path}: {key} must be {what}, but is {value!r}.")
    return value


def _patterns(
    content: Mapping[str, Any], key: str, path: Path, *, whole: bool = False
) -> dict[str, Any]:
    found = content.get(key) or {}
    if not isinstance(found, dict):
        raise UserError(f"{path}: {key} must be a mapping of patterns, but is {found!r:.80}.")
    for pattern in found:
        try:
            re.compile(_whole_part(pattern))
        except re.error as error:
            raise UserError(f"{path}: {key}: {pattern!r} is no pattern: {error}") from None
    return {p: _number(found, p, 0, path, whole=whole) for p in found}


def _pick(patterns: Mapping[str, Any], names: tuple[str, ...], default: Any) -> Any:
    """The value of the first pattern that matches the end of a name, as PEFT matches."""
    for name in names:
        for pattern, value in patterns.items():
            if re.match(_whole_part(pattern), name):
                return value
    return default


def _whole_part(pattern: str) -> str:
    return rf"(.*\.)?({pattern})$"
