"""Sources of training examples: scenes with questions, number facts, preference pairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from studies.demo.conversations import (
    Batch,
    Example,
    asked,
    collate,
    conversation,
    pictured,
    statement,
)
from studies.demo.plan import Mixture
from studies.demo.questions import (
    PERCEPTION,
    PREFERENCE_CATEGORIES,
    QUESTIONS,
    REASONING,
    phrase,
    wrong_answer,
)
from studies.demo.scenes import Scene, draw_all, random_scene
from studies.demo.vocabulary import COLOR_NAMES, NUMBER_WORDS

QUESTION_SOURCES: dict[str, tuple[str, ...]] = {
    "perception": PERCEPTION,
    "reasoning": REASONING,
    "places": ("places",),
    "compare": ("larger", "smaller"),
    "arithmetic": ("sum", "difference"),
    "guesses": REASONING,
}
# What a scene in words tells, and what perception can then ask. Bare digits and joined words
# (`red-3`) put one word in a cell, as a picture puts one token: what a model learns on them
# carries over to pictures.
SHOWN = ("both", "joined", "digits", "colors")
PERCEPTION_SHOWN = {
    "both": PERCEPTION,
    "joined": PERCEPTION,
    "digits": ("digits", "count"),
    "colors": ("colors", "count"),
}


def number_facts(rng: random.Random) -> list[str]:
    """Four facts about the order and the names of the numbers."""
    return _joined([_number_fact(rng) for _ in range(4)])


def _number_fact(rng: random.Random) -> str:
    kind, number = rng.randrange(5), rng.randrange(18)
    return (
        f"{number} is {NUMBER_WORDS[number]}",
        f"{NUMBER_WORDS[number]} is {number}",
        f"after {number} comes {number + 1}",
        f"before {number + 1} comes {number}",
        "count " + " ".join(str(number + step) for step in range(5)),
    )[kind]


def plain_sums(rng: random.Random) -> list[str]:
    """Three sums such as `3 plus 5 equals 8`."""
    pairs = [(rng.randrange(10), rng.randrange(10)) for _ in range(3)]
    return _joined([f"{left} plus {right} equals {left + right}" for left, right in pairs])


def _joined(sentences: Sequence[str]) -> list[str]:
    return " . ".join(sentences).split()


STATEMENT_SOURCES: dict[str, Callable[[random.Random], list[str]]] = {
    "facts": number_facts,
    "sums": plain_sums,
}


def pick(mixture: Mixture, rng: random.Random) -> str:
    """One source's name, drawn by its share."""
    names = [name for name, _ in mixture]
    return rng.choices(names, [share for _, share in mixture])[0]


def scene_for(names: Sequence[str], rng: random.Random) -> Scene:
    """A random scene of which every one of the named questions can be asked."""
    return random_scene(rng, 2 if any(QUESTIONS[name].pair_only for name in names) else None)


def text_example(source: str, rng: random.Random) -> Example:
    """One example in words only."""
    if source in STATEMENT_SOURCES:
        return statement(STATEMENT_SOURCES[source](rng))
    shown = rng.choice(SHOWN)
    names = QUESTION_SOURCES[source]
    if source == "perception":
        names = PERCEPTION_SHOWN[shown]
    elif shown == "colors" and source != "places":
        shown = "digits"
    scene = scene_for(names, rng)
    turns = asked(scene, names, rng)
    if source == "guesses":
        turns = [(question, guess(question[0], scene, rng)) for question, _ in turns]
    return conversation(scene.words(rng, shown, all_cells=source == "places"), turns)


def guess(name: str, scene: Scene, rng: random.Random) -> list[str]:
    """A careless answer, of the right kind, to a reasoning question.

    From guesses the base learns what is asked for and not how to find it.
    """
    if name in ("larger", "smaller"):
        return [str(rng.choice(scene.digits))]
    return [str(rng.randrange(19 if name == "sum" else 10))]


def text_batch(mixture: Mixture, size: int, rng: random.Random) -> Batch:
    """A batch of examples in words."""
    return collate([text_example(pick(mixture, rng), rng) for _ in range(size)])


def image_batch(mixture: Mixture, size: int, rng: random.Random) -> Batch:
    """A batch of questions about pictures, drawn from the training scans."""
    scenes, examples = [], []
    for _ in range(size):
        names = QUESTION_SOURCES[pick(mixture, rng)]
        scene = scene_for(names, rng)
        scenes.append(scene)
        examples.append(conversation(pictured(), asked(scene, names, rng)))
    return collate(examples, torch.from_numpy(draw_all(scenes, "train", rng)))


def preference_batch(size: int, blind: float, rng: random.Random) -> Batch:
    """Preference pairs about scenes in words: `size` chosen, then `size` rejected.

    A share `blind` of the pairs has no scene, so that a prompt without one is no surprise.
    """
    chosen, rejected = [], []
    for _ in range(size):
        name = rng.choice(PREFERENCE_CATEGORIES[rng.choice(tuple(PREFERENCE_CATEGORIES))])
        scene, question = scene_for([name], rng), QUESTIONS[name].text.split()
        shown = rng.choice(("both", "joined", "joined" if name == "colors" else "digits"))
        words = scene.words(rng, shown) if rng.random() >= blind else []
        right = phrase(QUESTIONS[name].answer(scene), rng)
        wrong = phrase(wrong_answer(name, scene, rng), rng)
        chosen.append(conversation(words, [(question, right)]))
        rejected.append(conversation(words, [(question, wrong)]))
    return collate(chosen + rejected)


def cell_batch(size: int, rng: random.Random) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (B, 3, 32, 32) with each cell's digit and colour (B, 4); 10 and 4 if empty."""
    scenes = [random_scene(rng, rng.choice((2, 3, 4))) for _ in range(size)]
    digits, colors = torch.full((size, 4), 10), torch.full((size, 4), 4)
    for row, scene in enumerate(scenes):
        for item in scene.items:
            digits[row, item.cell] = item.digit
            colors[row, item.cell] = COLOR_NAMES.index(item.color)
    return torch.from_numpy(draw_all(scenes, "train", rng)), digits, colors
