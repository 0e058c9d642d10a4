"""Evaluation data of the demo: questions and preference pairs about pictures, as parquet."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

from PIL import Image

from studies.demo.questions import PREFERENCE_CATEGORIES, QUESTIONS, phrase, wrong_answer
from studies.demo.scenes import Scene, draw
from studies.demo.sources import QUESTION_SOURCES, scene_for

SPLITS = ("selection", "confirm", "test")
SIZES = {
    "reasoning": {"selection": 400, "confirm": 400, "test": 1000},
    "perception": {"selection": 200, "confirm": 200, "test": 500},
    "preferences": {"selection": 300, "confirm": 400, "test": 1200},
    "places": {"selection": 200, "confirm": 200, "test": 500},
    "compare": {"selection": 200, "confirm": 200, "test": 500},
    "arithmetic": {"selection": 200, "confirm": 200, "test": 500},
}
Row = dict[str, Any]


def write_data(folder: Path, seed: int = 0, scale: int = 1) -> None:
    """Writes `KIND-SPLIT.parquet` for six kinds of items and three splits into `folder`.

    Columns: id, image (PNG, 32x32), question, category; then chosen and rejected (preferences)
    or answer (all others). Every split has its own scans, and none is a training
    scan. The same seed writes the same rows; `scale` times as many begin with the same ones.
    """
    from datasets import Dataset, Features, Value, disable_progress_bars
    from datasets import Image as ImageFeature

    disable_progress_bars()
    folder.mkdir(parents=True, exist_ok=True)
    for kind, sizes in SIZES.items():
        texts = ("chosen", "rejected") if kind == "preferences" else ("answer",)
        columns = ("id", "image", "question", *texts, "category")
        features = Features(
            {name: ImageFeature() if name == "image" else Value("string") for name in columns}
        )
        for split in SPLITS:
            rows = make_rows(kind, split, sizes[split] * scale, seed)
            table = {name: [row[name] for row in rows] for name in columns}
            dataset = Dataset.from_dict(table, features=features)
            dataset.to_parquet(folder / f"{kind}-{split}.parquet")


def make_rows(kind: str, split: str, size: int, seed: int) -> list[Row]:
    """The rows of one file; categories, and questions inside a category, come in turn."""
    rng = random.Random(f"{seed} {kind} {split}")
    make = _preference_row if kind == "preferences" else _question_row
    rows = []
    for index in range(size):
        row, scene = make(kind, index, rng)
        picture = io.BytesIO()
        Image.fromarray(draw(scene, split, rng)).save(picture, "PNG")
        row["id"] = f"{kind}-{split}-{index:04d}"
        row["image"] = {"bytes": picture.getvalue(), "path": None}
        rows.append(row)
    return rows


def _question_row(kind: str, index: int, rng: random.Random) -> tuple[Row, Scene]:
    names = QUESTION_SOURCES[kind]
    question = QUESTIONS[names[index % len(names)]]
    scene = scene_for([question.name], rng)
    answer = " ".join(question.answer(scene))
    return {"question": question.text, "answer": answer, "category": question.name}, scene


def _preference_row(_: str, index: int, rng: random.Random) -> tuple[Row, Scene]:
    categories = tuple(PREFERENCE_CATEGORIES)
    category = categories[index % len(categories)]
    names = PREFERENCE_CATEGORIES[category]
    question = QUESTIONS[names[index // len(categories) % len(names)]]
    scene = scene_for([question.name], rng)
    chosen = phrase(question.answer(scene), rng)
    rejected = phrase(wrong_answer(question.name, scene, rng), rng)
    row = {
        "question": question.text,
        "chosen": " ".join(chosen),
        "rejected": " ".join(rejected),
        "category": category,
    }
    return row, scene
