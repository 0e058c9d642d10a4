"""Weights of a folder by name, read one at a time; pickles only where that is allowed."""

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from merge_ops.errors import UserError, first_line
from merge_ops.old_layouts.recognition import pickle_files


class Weights(Mapping[str, Tensor]):
    """Tensors by name, mapped from the files and so in no memory until they are worked on."""

    def __init__(self, places: Mapping[str, Path], held: Mapping[str, Tensor]) -> None:
        """Args: files of those in safetensors, and those mapped from pickles."""
        self._places = places
        self._held = held

    def __getitem__(self, name: str) -> Tensor:
        """The tensor, on the CPU."""
        if name in self._held:
            return self._held[name]
        with safe_open(self._places[name], "pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(sorted([*self._places, *self._held]))

    def __len__(self) -> int:
        return len(self._places) + len(self._held)


def open_weights(folder: Path, source: str, *, allow_pickle: bool) -> Weights:
    """The weights of a model's folder: its safetensors, else its pickles.

    Raises:
        UserError: there are none, some are missing or damaged, or they are pickles and pickles
            are not allowed.
    """
    files = sorted(folder.glob("*.safetensors"))
    if files:
        _check_index(folder / "model.safetensors.index.json", source)
        return Weights(_places(files), {})
    pickles = pickle_files(folder)
    if not pickles:
        raise UserError(f"{source}: a model must have weights, but {folder} holds none.")
    check_allowed(pickles, source, allow_pickle=allow_pickle)
    _check_index(folder / "pytorch_model.bin.index.json", source)
    held: dict[str, Tensor] = {}
    for path in pickles:
        held |= read_pickle(path)
    return Weights({}, held)


def check_allowed(paths: Sequence[Path], source: str, *, allow_pickle: bool) -> None:
    """Refuse pickles unless they were asked for.

    Raises:
        UserError: they were not.
    """
    if not allow_pickle:
        raise UserError(
            f"{source}: its weights are pickles ({', '.join(path.name for path in paths[:3])}"
            f"{' ...' if paths[3:] else ''}), which can hold code. Pass --allow-pickle to read "
            "them as weights only, with everything else in them refused."
        )


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickle, by name: weights only, nothing in it is run; mapped if it is a zip.

    Raises:
        UserError: it cannot be read, or holds something else than tensors by name.
    """
    try:
        content = _load(path)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"{path}: it must be a pickle of weights and nothing else, but: {reason}"
        ) from None
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"{path}: it must hold tensors by name, but holds {type(content).__name__}."
        )
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"{path}: it must hold tensors by name, but {name!r} is {type(value).__name__}."
            )
    return {str(name): value.detach() for name, value in content.items()}


def _load(path: Path) -> object:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"PK"  # torch's format since 1.6; only this one can be mapped
    loaded: object = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    return loaded


def _places(files: Sequence[Path]) -> dict[str, Path]:
    """Which file holds which tensor."""
    places: dict[str, Path] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                places |= dict.fromkeys(file.keys(), path)
        except (SafetensorError, OSError) as error:
            reason = first_line(error)
            raise UserError(f"{path}: it cannot be read as safetensors: {reason}") from None
    return places


def _check_index(index: Path, source: str) -> None:
    """Every file that an index names must be there."""
    if not index.is_file():
        return
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{index}: it is no index of weight files: {error!r}") from None
    absent = sorted(name for name in named if not (index.parent / name).is_file())
    if absent:
        raise UserError(
            f"{source}: all {len(named)} files that {index.name} names must be there, but "
            f"{len(absent)} are not: {', '.join(absent[:3])}{' ...' if absent[3:] else ''}."
        )
