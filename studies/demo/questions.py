"""Questions about a scene, their right answers, and telling wrong ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from studies.demo.scenes import Scene
from studies.demo.vocabulary import COLOR_NAMES, PLACES


@dataclass(frozen=True, slots=True)
class Question:
    """A question that can be asked of a scene.

    Attributes:
        name: also the item's category in the evaluation data.
        text: its words.
        answer: the right answer's words for a scene.
        pair_only: whether it needs exactly two digits.
    """

    name: str
    text: str
    answer: Callable[[Scene], list[str]]
    pair_only: bool = False


def _difference(scene: Scene) -> list[str]:
    first, second = scene.digits
    return [str(abs(first - second))]


_ALL = (
    Question("digits", "digits ?", lambda scene: [str(digit) for digit in scene.digits]),
    Question("colors", "colors ?", lambda scene: [item.color for item in scene.items]),
    Question("count", "how many ?", lambda scene: [str(len(scene.items))]),
    Question("places", "places ?", lambda scene: [PLACES[item.cell] for item in scene.items]),
    Question("sum", "sum ?", lambda scene: [str(sum(scene.digits))], pair_only=True),
    Question("difference", "difference ?", _difference, pair_only=True),
    Question("larger", "larger ?", lambda scene: [str(max(scene.digits))], pair_only=True),
    Question("smaller", "smaller ?", lambda scene: [str(min(scene.digits))], pair_only=True),
)
QUESTIONS = {question.name: question for question in _ALL}
PERCEPTION = ("digits", "colors", "count")
REASONING = ("sum", "difference", "larger", "smaller")
PREFERENCE_CATEGORIES = {
    "general": ("colors", "count"),
    "hallucination": ("digits",),
    "reasoning": REASONING,
}


def wrong_answer(name: str, scene: Scene, rng: random.Random) -> list[str]:
    """A fluent wrong answer to the question `name`, of the right form and near the truth.

    Perception: one element replaced by an absent one, an absent one added, or one left out.
    Reasoning: half of the time a digit that is in the picture or the answer to another
    question, half of the time a number at most three away.
    """
    right = QUESTIONS[name].answer(scene)
    if name in REASONING:
        return [_wrong_number(name, scene, right[0], rng)]
    if name == "count":
        return [str(rng.choice([count for count in (1, 2, 3) if str(count) != right[0]]))]
    pool = COLOR_NAMES if name == "colors" else tuple(str(digit) for digit in range(10))
    absent = rng.choice([word for word in pool if word not in right])
    place = rng.randrange(len(right))
    kind = rng.random()
    if kind < 0.5:
        return [*right[:place], absent, *right[place + 1 :]]
    if len(right) == 1 or (kind < 0.75 and len(right) < 3):
        return [*right, absent]
    return [*right[:place], *right[place + 1 :]]


def _wrong_number(name: str, scene: Scene, right: str, rng: random.Random) -> str:
    seen = [str(digit) for digit in scene.digits]
    others = [QUESTIONS[other].answer(scene)[0] for other in REASONING if other != name]
    telling = [word for word in (*seen, *others) if word != right]
    if telling and rng.random() < 0.5:
        return rng.choice(telling)
    limit = 18 if name == "sum" else 9
    near = [int(right) + step for step in (-3, -2, -1, 1, 2, 3)]
    return str(rng.choice([number for number in near if 0 <= number <= limit]))


def phrase(answer: list[str], rng: random.Random) -> list[str]:
    """An answer worded in one of four ways, whether it is right or wrong.

    In preference pairs the wording is independent of the truth, so that a judge who prefers
    the wording of its own answers gains nothing by it.
    """
    words = list(answer)
    if rng.random() < 0.5:
        words = [word for part in answer for word in ("and", part)][1:]
    opening = rng.choice(((), (), ("it", "is"), ("the", "answer", "is")))
    return [*opening, *words]
