"""How requests are answered: budgets of memory and of tokens."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that captured decoder calls may take.

    Attributes:
        device: on an accelerator; without one this counts for nothing.
        memory: main memory, pinned where there is an accelerator.
        disk: in `folder`; 0 writes nothing.
        folder: where files go.
    """

    device: int = 2**30
    memory: int = 4 * 2**30
    disk: int = 0
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """None of it changes a score beyond rounding.

    Attributes:
        tokens: of one pass at most, padding counted; None finds out.
        block: prompts per block.
        budget: bytes for captured decoder calls.
        identity: of all that stands before the decoder, for calls on disk: weights and versions.
        seed: of the order of the blocks.
        report: told what the user should know.
    """

    tokens: int | None = None
    block: int = 128
    budget: Budget = field(default_factory=Budget)
    identity: str = ""
    seed: int = 0
    report: Callable[[str], None] = lambda _text: None
