"""What adapter_model.safetensors holds: factors by module, and tensors that replace others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from merge_ops.disk_names import Place, contents
from merge_ops.errors import UserError
from merge_ops.hub import ADAPTER_WEIGHTS

_PREFIX = "base_model.model."
_PARTS = "lora_embedding_A|lora_embedding_B|lora_A|lora_B|lora_magnitude_vector"
_FACTOR = re.compile(rf"(?P<module>.+)\.(?P<part>{_PARTS})(?:\.[^.]+)??(?:\.weight)?")
_WRAPPERS = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.)")
_FLOATS = ("F64", "F32", "BF16", "F16")


@dataclass(frozen=True, slots=True)
class Factors:
    """A low-rank update of one module's weight.

    Attributes:
        a: (rank, in features); of embeddings (rank, tokens).
        b: (out features, rank); of embeddings (width, rank).
        magnitude: of DoRA, (out features), or None.
        embedding: whether they are of embeddings, whose weight is (tokens, width).
    """

    a: Place
    b: Place
    magnitude: Place | None = None
    embedding: bool = False

    @property
    def rank(self) -> int:
        """The rank that the tensors have."""
        return self.a.shape[0]


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """Under the adapter's own names, without PEFT's prefix.

    Attributes:
        factors: by module.
        whole: by parameter, what replaces it: trained biases, `modules_to_save`, embeddings.
    """

    factors: Mapping[str, Factors] = field(default_factory=dict)
    whole: Mapping[str, Place] = field(default_factory=dict)


def read_adapter_file(folder: Path, reference: str) -> AdapterFile:
    """Read the header of the file in an adapter's folder; no tensor is read.

    Args:
        folder: where it lies.
        reference: what messages call the adapter.

    Raises:
        UserError: it is damaged or empty, or a tensor is of a kind that is not supported; named.
    """
    parts: dict[str, dict[str, Place]] = {}
    whole: dict[str, Place] = {}
    for place in contents(folder / ADAPTER_WEIGHTS):
        _check(place, reference)
        key = place.key.removeprefix(_PREFIX)
        found = _FACTOR.fullmatch(key)
        if found is None:
            whole[_WRAPPERS.sub("", key)] = place
            continue
        own = parts.setdefault(found["module"].removesuffix(".base_layer"), {})
        if found["part"] in own:
            raise UserError(
                f"{reference}: one file must hold one adapter, but {own[found['part']].key} and "
                f"{place.key} are of one module."
            )
        own[found["part"]] = place
    if not parts and not whole:
        raise UserError(f"{reference}: {ADAPTER_WEIGHTS} must hold tensors, but is empty.")
    factors = {module: _factors(own, module, reference) for module, own in sorted(parts.items())}
    return AdapterFile(factors, whole)


def _check(place: Place, reference: str) -> None:
    if place.dtype not in _FLOATS:
        raise UserError(
            f"{reference}: {place.key} must be stored as one of {', '.join(_FLOATS)}, but is "
            f"{place.dtype}."
        )
    unknown = re.search(r"\.(lora_B\.(?:[^.]+\.)?bias|lora_(?!A|B|emb|mag)\w+)", place.key)
    if unknown:
        raise UserError(
            f"{reference}: {place.key} is of a kind of LoRA that is not supported; merge it with "
            "PEFT (merge_and_unload), save the model, and use that."
        )


def _factors(parts: Mapping[str, Place], module: str, reference: str) -> Factors:
    """The two factors of one module, which must be matrices of one rank."""
    kinds = [("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B")]
    pairs = [pair for pair in kinds if all(part in parts for part in pair)]
    if len(pairs) != 1 or set(parts) - {*pairs[0], "lora_magnitude_vector"}:
        raise UserError(
            f"{reference}: {module} must have one pair of factors, A and B, but has "
            f"{', '.join(sorted(parts))}; the file is incomplete."
        )
    a, b = (parts[part] for part in pairs[0])
    fits = len(a.shape) == len(b.shape) == 2 and a.shape[0] == b.shape[1] > 0
    if not fits:
        hint = " Convolutions are not supported." if len(a.shape) > 2 else ""
        raise UserError(
            f"{reference}: factors must be matrices (rank, in) and (out, rank), but {a.key} is "
            f"{a.shape} and {b.key} is {b.shape}.{hint}"
        )
    embedding = pairs[0] == kinds[1]
    magnitude = parts.get("lora_magnitude_vector")
    if magnitude is not None and (embedding or magnitude.shape != (b.shape[0],)):
        what = "DoRA of embeddings is not supported" if embedding else f"must be {(b.shape[0],)}"
        raise UserError(f"{reference}: {magnitude.key} is {magnitude.shape}: {what}.")
    return Factors(a, b, magnitude, embedding)
