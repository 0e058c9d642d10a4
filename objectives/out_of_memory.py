"""Telling that a device ran out of memory from every other error."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from objectives.errors import ObjectiveError

_SIGNS = ("out of memory", "can't allocate memory", "failed to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch might have gone through."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(s in str(error).lower() for s in _SIGNS)


def free_memory(device: torch.device) -> None:
    """Give back what nothing holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def memory_for(doing: str, device: torch.device) -> Iterator[None]:
    """Turn the end of memory into an error that fails one candidate, and no more.

    Raises:
        ObjectiveError: memory ran out in the block.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        said = str(error).strip().partition("\n")[0]
        free_memory(device)
        raise ObjectiveError(
            f"out of memory while the candidate was {doing} ({said}); lower runtime.memory_gb, "
            "runtime.device_cache_gb or runtime.tokens_per_batch."
        ) from None
