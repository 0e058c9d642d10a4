"""Conversations: token sequences with labels on the answers only, and batches of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from studies.demo.questions import QUESTIONS
from studies.demo.scenes import Scene
from studies.demo.vocabulary import BOS, END_OF_SCENE, EOS, IMAGE, IMAGE_TOKENS, encode, vocabulary

IGNORED = -100  # the label of a token that is read, not written
Turn = tuple[Sequence[str], Sequence[str]]  # a question and its answer, in words


@dataclass(frozen=True, slots=True)
class Example:
    """One token sequence; `labels` repeats the ids that the model must write."""

    ids: list[int]
    labels: list[int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded on the right: ids and labels (B, T), pixels (B, 3, 32, 32) if pictured."""

    ids: Tensor
    labels: Tensor
    pixels: Tensor | None = None


def pictured() -> list[str]:
    """The words that stand for a picture."""
    return [IMAGE] * IMAGE_TOKENS


def conversation(scene: Sequence[str], turns: Sequence[Turn]) -> Example:
    """`<bos> scene . question answer <eos> question answer <eos>`; no scene, no full stop."""
    ids = encode([BOS, *scene, END_OF_SCENE] if scene else [BOS])
    labels = [IGNORED] * len(ids)
    for question, answer in turns:
        asked, written = encode(question), encode([*answer, EOS])
        ids += asked + written
        labels += [IGNORED] * len(asked) + written
    return Example(ids, labels)


def statement(words: Sequence[str]) -> Example:
    """Plain text: everything after `<bos>` is to be written."""
    ids = encode([BOS, *words, EOS])
    return Example(ids, [IGNORED, *ids[1:]])


def asked(scene: Scene, names: Sequence[str], rng: random.Random, at_most: int = 4) -> list[Turn]:
    """Up to `at_most` of the named questions in random order, with their right answers."""
    chosen = rng.sample(list(names), min(at_most, len(names)))
    return [(QUESTIONS[name].text.split(), QUESTIONS[name].answer(scene)) for name in chosen]


def collate(examples: Sequence[Example], pixels: Tensor | None = None) -> Batch:
    """Pads examples on the right.

    Every model of the zoo is causal, so padding on the right changes nothing before it and no
    attention mask is needed.
    """
    length = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), length), vocabulary()["<pad>"])
    labels = torch.full((len(examples), length), IGNORED)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    return Batch(ids, labels, pixels)
