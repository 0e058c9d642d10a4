"""Captured decoder calls by content, on the device, in main memory or on disk, by budget."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from objectives.call_files import CallFiles
from objectives.call_tensors import bytes_of, moved, to_device
from objectives.live_model import LiveModel, Part
from objectives.replay import DecoderCall
from objectives.settings import Budget

_BEFORE_THE_DECODER: tuple[Part, ...] = ("tower", "projector", "embeddings")


@dataclass(slots=True)
class _Tier:
    limit: int
    held: int = 0
    calls: dict[str, DecoderCall] = field(default_factory=dict)

    def put(self, key: str, call: DecoderCall, move: Callable[[Tensor], Tensor]) -> bool:
        size = bytes_of(call)
        if self.held + size > self.limit:
            return False
        self.calls[key] = moved(call, move)
        self.held += size
        return True


class PromptStore:
    """Keeps calls in the first place that has room; those without any are made anew each time.

    Candidates ask for the same calls in the same order, so what is in stays in: to put out the
    oldest would put out just what is needed next. Calls made before a recipe wrote the tower, the
    projector or the embeddings are dropped, and not kept on disk from then on.

    Attributes:
        made: how many calls had to be made.
    """

    def __init__(self, budget: Budget, report: Callable[[str], None] = lambda _text: None) -> None:
        self.made = 0
        self._device, self._memory = _Tier(budget.device), _Tier(budget.memory)
        self._files: CallFiles | None = None
        if budget.disk and budget.folder is not None:
            self._files = CallFiles(budget.folder, budget.disk, report)
        self._state: tuple[str, ...] | None = None
        self._first: tuple[str, ...] | None = None

    def get(self, live: LiveModel, key: str, make: Callable[[], DecoderCall]) -> DecoderCall:
        """The call of that key on the model's device, made by `make` if none is kept.

        Call `follow` first wherever the weights may have changed.
        """
        for tier in (self._device, self._memory):
            if key in tier.calls:
                return to_device(tier.calls[key], live.device)
        files = self._files if self._state == self._first else None
        name = hashlib.sha256(f"{key}{self._state}".encode()).hexdigest()
        call = files.get(name) if files else None
        new = call is None
        if call is None:
            call = make()
            self.made += 1
        call = to_device(call, live.device)
        if not self._keep(live, key, call) and new and files:
            files.put(name, call)
        return call

    def follow(self, live: LiveModel) -> None:
        """Drop what holds no longer, if anything before the decoder has been written."""
        state = tuple(live.fingerprint(part) for part in _BEFORE_THE_DECODER)
        if state != self._state:
            self.clear()
            self._state = state
            self._first = self._first or state

    def held(self) -> dict[str, int]:
        """Bytes held, by place."""
        disk = self._files.held if self._files else 0
        return {"device": self._device.held, "memory": self._memory.held, "disk": disk}

    def clear(self) -> None:
        """Drop what is in memory."""
        self._device, self._memory = _Tier(self._device.limit), _Tier(self._memory.limit)

    def _keep(self, live: LiveModel, key: str, call: DecoderCall) -> bool:
        if live.device.type == "cpu":
            return self._memory.put(key, call, lambda t: t)
        if self._device.put(key, call, lambda t: t):
            return True
        return self._memory.put(key, call, lambda t: t.cpu().pin_memory())
