"""One item to score a model on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from objectives.images import fingerprints

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Example:
    """One item to score a model on.

    Attributes:
        id: unique within its objective.
        question: what the user asks.
        images: what the user shows, RGB, in order; empty for a question in words alone. Those that
            were read from data are decoded each time they are asked for (`objectives.images`).
        texts: single texts that the objective needs, by role ("answer", "chosen", "rejected").
        category: groups examples in reports and in macro averages.
        lists: several texts, by role ("answers", "options", "responses").
        numbers: by role ("correctness", "bbox", "precision").
        groups: further categories, by name.
    """

    id: str
    question: str
    images: Sequence["Image"]
    texts: Mapping[str, str]
    category: str
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def pixels_sha256(self) -> str | None:
        """Digest of the decoded images, which tells the same pictures under another name."""
        if not self.images:
            return None
        pixels = "".join(taken.pixels for taken in fingerprints(self.images))
        return hashlib.sha256(pixels.encode()).hexdigest()


def with_suffix(example: Example, suffix: str, *, apart: bool = False) -> Example:
    """The same example, the suffix behind its question.

    Args:
        example: any.
        suffix: such as "Answer in one word."; empty for none.
        apart: put it into `texts["suffix"]` instead, for an objective that writes the options
            behind the question first.
    """
    if not suffix:
        return example
    if apart:
        return replace(example, texts={**example.texts, "suffix": suffix})
    return replace(example, question=f"{example.question}\n{suffix}")
