"""Accuracy: what each model of a zoo can do, as its manifest records it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification
from transformers import LlavaForConditionalGeneration as Llava

from studies.demo.architectures import load_reward, load_text, load_vlm
from studies.demo.conversations import IGNORED, Batch, collate, conversation, pictured
from studies.demo.questions import (
    PERCEPTION,
    PREFERENCE_CATEGORIES,
    QUESTIONS,
    REASONING,
    phrase,
    wrong_answer,
)
from studies.demo.scenes import draw_all
from studies.demo.sources import QUESTION_SOURCES, scene_for
from studies.demo.vocabulary import PAD, vocabulary

ITEMS = 480  # a measurement
SKILLS = {
    "skill_places": "places",
    "skill_compare": "compare",
    "skill_sums": "arithmetic",
}


def measure_zoo(folder: Path, items: int = ITEMS) -> dict[str, dict[str, float]]:
    """The accuracies of every model of a zoo; pictures come from the selection scans.

    Text models answer about scenes in words, the others about pictures; the reward model is
    measured by its share of pairs in words whose right answer scores higher.
    """
    measured: dict[str, dict[str, float]] = {}
    for name in ("base", "math"):
        model = load_text(folder / name)
        measured[name] = {
            "text_perception": exact_match(model, PERCEPTION, items, pictures=False),
            "text_reasoning": exact_match(model, REASONING, items, pictures=False),
        }
    for name in ("vlm", *SKILLS):
        seeing = load_vlm(folder / name)
        measured[name] = {
            "perception": exact_match(seeing, PERCEPTION, items, pictures=True),
            "reasoning": exact_match(seeing, REASONING, items, pictures=True),
        }
        for skill in SKILLS.values():
            names = QUESTION_SOURCES[skill]
            measured[name][skill] = exact_match(seeing, names, items, pictures=True)
    reward = load_reward(folder / "reward")
    measured["reward"] = {"text_preferences": preference_accuracy(reward, items)}
    return measured


def exact_match(
    model: LlamaForCausalLM | Llava, names: Sequence[str], items: int, pictures: bool
) -> float:
    """The share of items whose free greedy answer is exactly right.

    An answer is right when every one of its tokens, given those before it, is the most likely;
    greedy generation then writes it, so one pass over prompt and answer is enough.
    """
    batch = _question_batch(names, items, pictures)
    attention = (batch.ids != vocabulary()[PAD]).long()
    inputs = {"input_ids": batch.ids, "attention_mask": attention}
    if batch.pixels is not None:
        inputs["pixel_values"] = batch.pixels
    with torch.inference_mode():
        written = model(**inputs).logits[:, :-1].argmax(-1)  # (B, T-1)
    labels = batch.labels[:, 1:]
    right = ((written == labels) | (labels == IGNORED)).all(1)
    return round(float(right.float().mean()), 4)


def _question_batch(names: Sequence[str], items: int, pictures: bool) -> Batch:
    rng = random.Random(f"accuracy {' '.join(names)}")
    scenes, examples = [], []
    for index in range(items):
        question = QUESTIONS[names[index % len(names)]]
        scene = scene_for([question.name], rng)
        context = pictured() if pictures else scene.words(rng)
        scenes.append(scene)
        examples.append(conversation(context, [(question.text.split(), question.answer(scene))]))
    pixels = torch.from_numpy(draw_all(scenes, "selection", rng)) if pictures else None
    return collate(examples, pixels)


def preference_accuracy(model: LlamaForSequenceClassification, items: int) -> float:
    """The share of pairs about scenes in words whose right answer scores higher."""
    rng = random.Random("accuracy preferences")
    names = [name for group in PREFERENCE_CATEGORIES.values() for name in group]
    chosen, rejected = [], []
    for index in range(items):
        question = QUESTIONS[names[index % len(names)]]
        scene = scene_for([question.name], rng)
        words, text = scene.words(rng), question.text.split()
        right = phrase(question.answer(scene), rng)
        wrong = phrase(wrong_answer(question.name, scene, rng), rng)
        chosen.append(conversation(words, [(text, right)]))
        rejected.append(conversation(words, [(text, wrong)]))
    ids = collate(chosen + rejected).ids
    attention = (ids != vocabulary()[PAD]).long()
    with torch.inference_mode():
        first, second = model(input_ids=ids, attention_mask=attention).logits[:, 0].chunk(2)
    return round(float((first > second).float().mean()), 4)
