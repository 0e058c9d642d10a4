"""Tiny copies of published data sets in their own columns, for the tests of presets."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(seed: int, side: int = 24) -> Image.Image:
    """A picture that no other seed gives."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def stored(seed: int) -> dict[str, Any]:
    """A picture as parquet files of the hub hold it."""
    return {"bytes": encoded(picture(seed)), "path": f"{seed}.png"}


ROWS: Mapping[str, list[dict[str, Any]]] = {
    "vl_rewardbench": [
        {
            "id": name,
            "query": f"<image>\nWhat of {i}?",
            "response": [f"first {i}", f"second {i}"],
            "image": stored(i),
            "human_ranking": [i % 2, 1 - i % 2],
            "models": ["a", "b"],
        }
        for i, name in enumerate(
            ("RLAIF-V-3", "mathverse_7", "wildvision-battle-1", "mmmu_pro_standard-2")
        )
    ],
    "rlaif_v": [
        {
            "ds_name": "RLAIF-V",
            "image": stored(10 + i),
            "question": f"Describe {i}.",
            "chosen": f"good {i}",
            "rejected": f"bad {i}",
            "origin_dataset": "VQAv2",
            "idx": i,
        }
        for i in range(3)
    ],
    "textvqa": [
        {
            "image_id": "x",
            "question_id": 34602 + i,
            "question": f"what is brand {i}?",
            "image": stored(i),
            "answers": ["dakota"] * 6 + ["nous les gosses"] * 4,
        }
        for i in range(2)
    ],
    "vizwiz": [
        {
            "question_id": "VizWiz_val_0.jpg",
            "image": stored(1),
            "question": "Can you tell me what this is?",
            "answers": ["lotion"] * 9 + ["unanswerable"],
            "category": "answerable",
        }
    ],
    "mmmu_pro": [
        {
            "id": "test_History_1",
            "question": "Compare <image 1> with <image 2>. <image 2> shows",
            "options": "['a coin\\'s edge', \"a map\", '<image 1>', 'a ship']",
            "explanation": "",
            **{f"image_{k}": stored(k) if k < 3 else None for k in range(1, 8)},
            "answer": "C",
            "topic_difficulty": "Hard",
            "subject": "History",
        }
    ],
    "mmmu": [
        {
            "id": "validation_Computer_Science_1",
            "question": "<image 1> Which one?",
            "options": "['a map', 'a ship']",
            "explanation": "",
            **{f"image_{k}": stored(k) if k < 2 else None for k in range(1, 8)},
            "answer": "B",
            "topic_difficulty": "Easy",
            "question_type": "multiple-choice",
        },
        {
            "id": "validation_Art_7",
            "question": "How many in <image 1>?",
            "options": "[]",
            "explanation": "",
            **{f"image_{k}": stored(k + 1) if k < 2 else None for k in range(1, 8)},
            "answer": "12",
            "topic_difficulty": "Easy",
            "question_type": "open",
        },
    ],
    "mmmu_pro_vision": [
        {
            "id": "test_Art_2",
            "image": stored(5),
            "options": "['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J']",
            "answer": "J",
            "subject": "Art",
        }
    ],
    "mmstar": [
        {
            "index": 0,
            "question": "Which is right?\nOptions: A: On the book., B: Beneath, C: Both, D: None",
            "image": stored(2),
            "answer": "B",
            "category": "coarse perception",
            "l2_category": "image scene",
            "meta_info": {"source": "MMBench"},
        }
    ],
    "mathvista": [
        {
            "pid": "1",
            "question": "How far?",
            "image": "images/1.jpg",
            "decoded_image": stored(3),
            "choices": None,
            "unit": "cm",
            "precision": 1.0,
            "answer": "1.2",
            "question_type": "free_form",
            "answer_type": "float",
            "metadata": {"category": "math-targeted-vqa", "task": "geometry problem solving"},
            "query": "Hint: answer with one decimal.\nQuestion: How far?",
        },
        {
            "pid": "2",
            "question": "Which?",
            "image": "images/2.jpg",
            "decoded_image": stored(4),
            "choices": ["Yes", "No"],
            "unit": None,
            "precision": None,
            "answer": "No",
            "question_type": "multi_choice",
            "answer_type": "text",
            "metadata": {"category": "general-vqa", "task": "visual question answering"},
            "query": "Question: Which?\nChoices:\n(A) Yes\n(B) No",
        },
    ],
    "mathverse": [
        {
            "sample_index": "1",
            "problem_index": "1",
            "problem_version": "Text Lite",
            "question": "What is x?\nChoices:\nA:1\u00b0\nB:2\u00b0",
            "question_for_eval": "What is x?\nChoices:\nA:1\u00b0\nB:2\u00b0",
            "question_type": "multi-choice",
            "image": stored(6),
            "answer": "B",
            "metadata": {"subject": "Plane Geometry", "subfield": "Angle"},
        },
        {
            "sample_index": "5",
            "problem_index": "1",
            "problem_version": "Vision Only",
            "question": "",
            "question_for_eval": "What is x?\nChoices:\nA:1\u00b0\nB:2\u00b0",
            "question_type": "multi-choice",
            "image": stored(16),
            "answer": "B",
            "metadata": {"subject": "Plane Geometry", "subfield": "Angle"},
        },
        {
            "sample_index": "6",
            "problem_index": "2",
            "problem_version": "Text Lite",
            "question": "How long is AB?",
            "question_for_eval": "How long is AB?",
            "question_type": "free-form",
            "image": stored(17),
            "answer": "12",
            "metadata": {"subject": "Solid Geometry", "subfield": "Length"},
        },
    ],
    "mathvision": [
        {
            "id": "1",
            "question": "How many? <image1>",
            "options": ["3", "4"],
            "image": "images/1.jpg",
            "decoded_image": stored(7),
            "answer": "B",
            "level": 2,
            "subject": "counting",
        },
        {
            "id": "2",
            "question": "How long?",
            "options": [],
            "image": "images/2.jpg",
            "decoded_image": stored(8),
            "answer": "12",
            "level": 5,
            "subject": "metric geometry",
        },
    ],
    "dynamath": [
        {
            "id": "7",
            "question": "What is f(1)?",
            "image": "images/7.png",
            "decoded_image": stored(9),
            "ground_truth": "3.5",
            "answer_type": "float",
            "subject": "algebra",
            "knowledge_level": "high school",
        }
    ],
    "mm_math": [
        {
            "file_name": "4.png",
            "image": stored(10),
            "question": "Find BC.",
            "solution": "So $BC = \\boxed{\\frac{1}{2}}$.",
            "difficult": "easy",
        }
    ],
    "chartqa": [
        {
            "type": "human_test",
            "question": "How much?",
            "answer": "14%",
            "image": stored(11),
        }
    ],
    "gqa": [
        {
            "id": "202",
            "imageId": "n1",
            "image": stored(12),
            "question": "Is it red?",
            "answer": "no",
            "fullAnswer": "No, it is blue.",
        }
    ],
    "ocr_vqa": [
        {
            "image": stored(13),
            "image_id": "0195",
            "questions": ["Who wrote this?", "What is the genre?"],
            "answers": ["A. Nobody", "Travel"],
        }
    ],
    "refcoco": [
        {
            "question_id": "469306",
            "image": stored(14),
            "question": "Please describe the region.",
            "answer": ["left girl", "girl in red"],
            "bbox": [6.0, 12.0, 12.0, 6.0],
            "file_name": "COCO_1.jpg",
        }
    ],
    "best_of_n": [
        {
            "id": 34602,
            "input": "What is the brand?",
            "responses": ["Dakota.", "Kodak."],
            "correctness": [0.9, 0],
            "answers": ["dakota"] * 10,
        }
    ],
    "multimodal_rewardbench": [
        {
            "ID": "mm-1",
            "Text": "What is it?",
            "Image": "one.png",
            "Output1": "a cat",
            "Output2": "a dog",
            "Better": "Output2",
            "Category": "correctness",
        }
    ],
}
"""By preset; the presets that share a rule share rows."""

SAME = {"rlaif_v_400": "rlaif_v", "refcoco_plus": "refcoco", "refcocog": "refcoco"}


def rows_of(preset: str) -> list[dict[str, Any]]:
    """The rows of a preset's tiny copy."""
    return ROWS[SAME.get(preset, preset)]


def write_copy(preset: str, folder: Path) -> str:
    """Write a tiny copy as the data set is published: parquet with pictures, or JSON."""
    import json

    import datasets

    folder.mkdir(parents=True, exist_ok=True)
    rows = rows_of(preset)
    if preset in {"best_of_n", "multimodal_rewardbench"}:
        (folder / "images").mkdir(exist_ok=True)
        picture(0).save(folder / "one.png")
        picture(0).save(folder / "images" / "34602.jpg")
        path = folder / ("all_data.json" if preset != "best_of_n" else "best_of_n.jsonl")
        lines = "\n".join(json.dumps(row) for row in rows)
        path.write_text(json.dumps(rows) if path.suffix == ".json" else lines)
        return str(path)
    table = datasets.Dataset.from_list(rows)
    for name in table.column_names:
        if all(isinstance(row[name], dict) and "bytes" in row[name] for row in rows):
            table = table.cast_column(name, datasets.Image())
    path = folder / "test.parquet"
    table.to_parquet(str(path))
    return str(path)
