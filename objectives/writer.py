"""Writers: what turns prompts into texts; a Protocol, so that another engine can serve it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from objectives.continuation import Branch
from objectives.heads import Head
from objectives.live_model import LiveModel
from objectives.request import Prompt, Writing


@dataclass(frozen=True, slots=True)
class Job:
    """Prompts of one batch behind which texts are to be written in the same way.

    A writer takes what it needs: the prompts as they are, their tokens, or the decoder's state.

    Attributes:
        writing: how.
        prompts: what is read first.
        ids: their tokens, images included.
        allowed: tokens of the allowed texts per prompt, ends included; empty if all are.
        read: reads the prompts and gives the decoder's state behind them, a row per prompt; the
            writer may go on from it.
        head: from hidden states to logits.
    """

    writing: Writing
    prompts: Sequence[Prompt]
    ids: Sequence[Sequence[int]]
    allowed: Sequence[Sequence[Sequence[int]]]
    read: Callable[[], Branch]
    head: Callable[[], Head]


@dataclass(frozen=True, slots=True)
class Text:
    """One written text.

    Attributes:
        text: without special tokens, and without the stop string that ended it.
        tokens: how many were written, without the end token.
        truncated: it had not ended when it was cut.
    """

    text: str
    tokens: int
    truncated: bool


class Writer(Protocol):
    """Writes texts with the live model as it is now."""

    def write(self, live: LiveModel, job: Job, /) -> list[tuple[Text, ...]]:
        """For each prompt its texts, one per vote."""
        ...
