"""Tests of the shipped zoo: files, prompts, splits, data, and what its models can do."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSequenceClassification,
    AutoProcessor,
    AutoTokenizer,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlavaForConditionalGeneration,
)

from studies.demo.accuracy import exact_match
from studies.demo.architectures import load_text, load_vlm
from studies.demo.conversations import conversation, pictured
from studies.demo.data import SIZES, SPLITS, write_data
from studies.demo.questions import (
    PERCEPTION,
    PREFERENCE_CATEGORIES,
    QUESTIONS,
    REASONING,
    phrase,
    wrong_answer,
)
from studies.demo.scenes import SPLIT_SIZES, draw, draw_all, random_scene, scan_indices
from studies.demo.sources import scene_for
from studies.demo.zoo import (
    MODEL_NAMES,
    MODELS_FOLDER,
    ZooError,
    read_manifest,
    verify_manifest,
    zoo_path,
)

SEEING = ("vlm", "skill_places", "skill_compare", "skill_sums")
CLASSES: dict[str, tuple[Any, Any]] = {
    "base": (AutoModelForCausalLM, LlamaForCausalLM),
    "math": (AutoModelForCausalLM, LlamaForCausalLM),
    "reward": (AutoModelForSequenceClassification, LlamaForSequenceClassification),
    **dict.fromkeys(SEEING, (AutoModelForImageTextToText, LlavaForConditionalGeneration)),
}
EMBEDDINGS = ("embed_tokens", "lm_head")


def _processor(name: str) -> Any:
    return AutoProcessor.from_pretrained(zoo_path(name))  # type: ignore[no-untyped-call]


def test_manifest_sums_hold() -> None:
    verify_manifest()
    assert set(CLASSES) == set(MODEL_NAMES)


@pytest.mark.parametrize("change", ["altered", "missing", "added"])
def test_altered_copy_is_refused_by_name(tmp_path: Path, change: str) -> None:
    zoo = tmp_path / "zoo"
    shutil.copytree(MODELS_FOLDER, zoo)
    verify_manifest(zoo)
    victim = zoo / "math" / ("extra.bin" if change == "added" else "model.safetensors")
    if change == "missing":
        victim.unlink()
    else:
        content = bytearray(victim.read_bytes() if victim.exists() else b"?")
        content[-1] ^= 1
        victim.write_bytes(bytes(content))
    with pytest.raises(ZooError, match=f"math/{victim.name}"):
        verify_manifest(zoo)


def test_unknown_model_and_missing_manifest_are_said(tmp_path: Path) -> None:
    assert zoo_path("vlm").is_dir()
    with pytest.raises(ZooError, match="no model 'vml'"):
        zoo_path("vml")
    with pytest.raises(ZooError, match="not a zoo"):
        read_manifest(tmp_path)


def test_shipped_zoo_is_small() -> None:
    size = sum(path.stat().st_size for path in MODELS_FOLDER.glob("**/*") if path.is_file())
    assert size <= 8_000_000


@pytest.mark.parametrize("module", ["studies.demo", "studies.demo.zoo"])
def test_helpers_import_only_the_standard_library(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'numpy', 'transformers', 'datasets', 'sklearn', 'PIL', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_folder_loads_by_auto_classes(name: str) -> None:
    auto, expected = CLASSES[name]
    folder = zoo_path(name)
    model, info = auto.from_pretrained(folder, output_loading_info=True)
    assert type(model) is expected
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings
    assert tokenizer.chat_template
    if name in SEEING:
        processor = _processor(name)
        assert processor.chat_template == tokenizer.chat_template
    if name == "reward":
        assert model.config.num_labels == 1
        assert model.score.bias is None


@pytest.mark.parametrize("name", [name for name in MODEL_NAMES if name != "base"])
def test_embeddings_are_those_of_the_base(name: str) -> None:
    def embeddings(which: str) -> dict[str, torch.Tensor]:
        weights = CLASSES[which][0].from_pretrained(zoo_path(which)).state_dict()
        return {
            part: weight
            for key, weight in weights.items()
            for part in EMBEDDINGS
            if part in key.split(".")
        }

    base, other = embeddings("base"), embeddings(name)
    assert other
    for part, weight in other.items():
        assert torch.equal(weight, base[part]), part


def _messages(image: Any, text: str, answer: str | None = None) -> list[dict[str, Any]]:
    parts = [{"type": "image", "image": image}] if image is not None else []
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
    ]
    if answer is not None:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages


@pytest.mark.parametrize("name", SEEING)
@pytest.mark.parametrize("answered", [False, True])
def test_processor_renders_the_training_sequence(name: str, answered: bool) -> None:
    processor = _processor(name)
    rng = random.Random(0)
    scene = random_scene(rng, 2)
    pixels = draw(scene, "train", rng)
    messages = _messages(Image.fromarray(pixels), "sum ?", "11" if answered else None)
    inputs = processor.apply_chat_template(
        messages,
        add_generation_prompt=not answered,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    trained = conversation(pictured(), [(["sum", "?"], ["11"])])
    expected = trained.ids if answered else trained.ids[:-2]
    assert inputs["input_ids"].tolist() == [expected]
    rng = random.Random(0)
    seen_in_training = draw_all([random_scene(rng, 2)], "train", rng)
    np.testing.assert_allclose(inputs["pixel_values"], seen_in_training, atol=1e-6)


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("as_string", [False, True])
@pytest.mark.parametrize("answered", [False, True])
def test_tokenizer_renders_the_training_sequence(
    name: str, as_string: bool, answered: bool
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(zoo_path(name))
    for scene in (["red", "3", "none", "blue", "5"], []):
        text = " ".join([*scene, ".", "sum", "?"] if scene else ["sum", "?"])
        messages = _messages(None, text, "8" if answered else None)
        if as_string:
            messages = [{**turn, "content": turn["content"][0]["text"]} for turn in messages]
        ids = tokenizer.apply_chat_template(
            messages, add_generation_prompt=not answered, return_dict=False
        )
        trained = conversation(scene, [(["sum", "?"], ["8"])])
        assert ids == (trained.ids if answered else trained.ids[:-2])


def test_prompt_without_picture_is_the_same_minus_the_picture() -> None:
    processor = _processor("vlm")
    with_picture = processor.apply_chat_template(_messages("unused", "sum ?"))
    without = processor.apply_chat_template(_messages(None, "sum ?"))
    assert with_picture.replace(" <image> .", "") == without == "<bos> sum ?"


def test_scan_splits_are_disjoint_and_complete() -> None:
    indices = scan_indices()
    assert {name: len(rows) for name, rows in indices.items()} == SPLIT_SIZES
    for first, second in combinations(indices.values(), 2):
        assert not set(first) & set(second)
    assert sorted(row for rows in indices.values() for row in rows) == list(range(1797))


@pytest.mark.parametrize("name", [*PERCEPTION, *REASONING])
def test_wrong_answers_are_wrong_in_every_wording(name: str) -> None:
    rng = random.Random(1)
    for _ in range(500):
        scene = scene_for([name], rng)
        right, wrong = QUESTIONS[name].answer(scene), wrong_answer(name, scene, rng)
        assert right != wrong
        assert phrase(right, rng) != phrase(wrong, rng)


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


def _read(folder: Path, kind: str, split: str) -> Dataset:
    path = folder / f"{kind}-{split}.parquet"
    return Dataset.from_parquet(str(path), cache_dir=str(folder / "cache"))


CATEGORIES = {
    "reasoning": 4,
    "perception": 3,
    "preferences": 3,
    "places": 1,
    "compare": 2,
    "arithmetic": 2,
}


def test_data_has_its_columns_and_balanced_categories(data_folder: Path) -> None:
    seen: set[str] = set()
    for kind, sizes in SIZES.items():
        for split in SPLITS:
            rows = _read(data_folder, kind, split)
            texts = ["chosen", "rejected"] if kind == "preferences" else ["answer"]
            assert rows.column_names == ["id", "image", "question", *texts, "category"]
            assert rows.num_rows == sizes[split]
            counts = [rows["category"].count(name) for name in sorted(set(rows["category"]))]
            assert max(counts) - min(counts) <= 1
            assert len(counts) == CATEGORIES[kind]
            assert not seen & set(rows["id"])
            seen |= set(rows["id"])
            assert len(set(rows["id"])) == rows.num_rows
            assert rows[0]["image"].size == (32, 32)
            assert rows[7]["id"] == f"{kind}-{split}-0007"
    assert len(PREFERENCE_CATEGORIES) == 3


def test_data_is_deterministic_in_its_seed(data_folder: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "again")
    write_data(tmp_path / "other", seed=1)
    for path in sorted(data_folder.glob("*.parquet")):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
        assert path.read_bytes() != (tmp_path / "other" / path.name).read_bytes()


def test_models_are_as_able_as_the_manifest_says() -> None:
    accuracies = read_manifest()["accuracies"]
    math = exact_match(load_text(zoo_path("math")), REASONING, 400, pictures=False)
    seeing = exact_match(load_vlm(zoo_path("vlm")), PERCEPTION, 400, pictures=True)
    assert math == pytest.approx(accuracies["math"]["text_reasoning"], abs=0.03)
    assert seeing == pytest.approx(accuracies["vlm"]["perception"], abs=0.03)
    assert math > 0.95
    assert seeing > 0.9


def test_generation_agrees_with_teacher_forcing() -> None:
    model: Any = load_vlm(zoo_path("vlm"))
    processor = _processor("vlm")
    rng, right = random.Random(3), 0
    for index in range(24):
        question = QUESTIONS[PERCEPTION[index % 3]]
        scene = scene_for([question.name], rng)
        picture = Image.fromarray(draw(scene, "selection", rng))
        inputs = processor.apply_chat_template(
            _messages(picture, question.text),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        written = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
        text = processor.decode(written, skip_special_tokens=True)
        right += text.split() == question.answer(scene)
    assert right >= 20
