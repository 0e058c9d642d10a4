"""Published data sets: tiny copies in their own columns become examples."""

from pathlib import Path
from typing import Any

import pytest

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.images import Pictures
from objectives.preset import Preset, all_presets, find_preset
from objectives.presets.choices import split_options
from objectives.reading import Taking, read_source
from tests.published import encoded, picture, rows_of, stored, write_copy

NAMES = [preset.name for preset in all_presets()]


def examples_of(name: str, folder: Path) -> tuple[Example, ...]:
    return read_source(write_copy(name, folder), find_preset(name).rule).examples


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Example, ...]]:
    root = tmp_path_factory.mktemp("published")
    return {name: examples_of(name, root / name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_reads_a_copy_in_the_published_columns(
    name: str, found: dict[str, tuple[Example, ...]]
) -> None:
    preset = find_preset(name)
    assert len(found[name]) >= len(rows_of(name))
    for example in found[name]:
        assert example.id
        assert "<image" not in example.question
        assert isinstance(example.images, Pictures)
        assert example.images[0].mode == "RGB"
        assert all(option for option in example.lists.get("options", ()))
    assert set(preset.rule.required) <= set(rows_of(name)[0])
    assert preset.citation
    assert preset.source or preset.note


def test_the_better_response_is_the_one_that_ranks_first(
    found: dict[str, tuple[Example, ...]],
) -> None:
    one, two, *_ = found["vl_rewardbench"]
    assert one.texts == {"chosen": "first 0", "rejected": "second 0"}
    assert two.texts == {"chosen": "second 1", "rejected": "first 1"}
    assert [e.category for e in found["vl_rewardbench"]] == [
        "hallucination",
        "reasoning",
        "general",
        "reasoning",
    ]
    (pair,) = found["multimodal_rewardbench"]
    assert pair.texts == {"chosen": "a dog", "rejected": "a cat"}
    assert pair.category == "correctness"


def test_options_come_from_a_written_out_list_and_markers_name_pictures(
    found: dict[str, tuple[Example, ...]],
) -> None:
    (example,) = found["mmmu_pro"]
    assert example.question == "Compare (image 1) with (image 2). (image 2) shows"
    assert example.lists["options"] == ("a coin's edge", "a map", "(image 1)", "a ship")
    assert example.texts == {"answer": "C"}
    assert len(example.images) == 2
    choice, open_ = found["mmmu"]
    assert (choice.category, open_.category) == ("Computer_Science", "Art")
    assert choice.lists == {"options": ("a map", "a ship")}
    assert (choice.texts, open_.texts) == ({"answer": "B"}, {"answer": "12"})
    assert open_.lists == {}
    (vision,) = found["mmmu_pro_vision"]
    assert vision.texts == {"answer": "J"}


def test_options_are_told_apart_from_the_question_of_mmstar(
    found: dict[str, tuple[Example, ...]],
) -> None:
    (example,) = found["mmstar"]
    assert example.question == "Which is right?"
    assert example.lists["options"] == ("On the book.", "Beneath", "Both", "None")
    assert example.groups == {"l2_category": "image scene"}
    assert split_options("Is it? (A) yes, C. (B) no") == ("Is it?", ("yes, C.", "no"))
    assert split_options("no options") == ("no options", ())


def test_mathematics_keeps_options_units_and_precision(
    found: dict[str, tuple[Example, ...]],
) -> None:
    free, choice = found["mathvista"]
    assert free.numbers == {"precision": (1.0,)}
    assert free.texts["unit"] == "cm"
    assert (free.category, choice.category) == ("math", "general")
    assert choice.lists == {"options": ("Yes", "No")}
    letters, number = found["mathvision"]
    assert letters.question == "How many? (image 1)\nA. 3\nB. 4"
    assert (letters.texts["answer"], number.texts["answer"]) == ("B", "12")
    verse, seen, free = found["mathverse"]
    assert verse.category == "Plane Geometry"
    assert verse.question.endswith("Choices:\nA:1\u00b0\nB:2\u00b0")
    assert verse.lists == seen.lists == {"options": ("1\u00b0", "2\u00b0")}
    assert (verse.texts["answer"], seen.texts["answer"]) == ("B", "B")
    assert seen.question == "Answer the question in the image."
    assert seen.groups == {"level": "Vision Only"}
    assert (free.lists, free.texts) == ({}, {"answer": "12"})
    assert found["dynamath"][0].texts["answer"] == "3.5"
    assert found["mm_math"][0].texts["answer"] == r"\frac{1}{2}"


def test_answers_boxes_and_responses(found: dict[str, tuple[Example, ...]]) -> None:
    assert len(found["textvqa"][0].lists["answers"]) == 10
    assert found["textvqa"][0].id == "34602"
    assert found["chartqa"][0].category == "human"
    first, second = found["refcoco"]
    assert first.numbers["bbox"] == (0.25, 0.5, 0.75, 0.75)
    assert (first.id, second.id) == ("469306-0", "469306-1")
    assert second.question.endswith("describes: girl in red")
    (best,) = found["best_of_n"]
    assert best.numbers["correctness"] == (0.9, 0.0)
    assert [e.texts["answer"] for e in found["ocr_vqa"]] == ["A. Nobody", "Travel"]


def test_pictures_may_stand_in_another_config(tmp_path: Path) -> None:
    import datasets

    for config, rows in {
        "testdev_balanced_instructions": [
            {"id": "1", "imageId": "n1", "question": "Red?", "answer": "no"},
            {"id": "2", "imageId": "n2", "question": "Blue?", "answer": "yes"},
        ],
        "testdev_balanced_images": [{"id": f"n{seed}", "image": stored(seed)} for seed in (2, 1)],
    }.items():
        (tmp_path / config).mkdir()
        table = datasets.Dataset.from_list(rows)
        if "image" in table.column_names:
            table = table.cast_column("image", datasets.Image())
        table.to_parquet(str(tmp_path / config / "testdev-0.parquet"))
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: testdev\n    path: {name}/*.parquet\n"
        for name in ("testdev_balanced_instructions", "testdev_balanced_images")
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    source = f"{tmp_path}:testdev_balanced_instructions:testdev"
    first, second = read_source(source, find_preset("gqa").rule).examples
    assert list(first.images) == [picture(1)]
    assert list(second.images) == [picture(2)]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vl_rewardbench", {"human_ranking": [1, 1]}, "row 0: human_ranking must be .0, 1. or"),
        ("vl_rewardbench", {"response": ["one"]}, "row 0: response must be two texts"),
        ("vl_rewardbench", {"response": ["", "x"]}, "row 0: response must be non-empty text"),
        ("vl_rewardbench", {"image": {"bytes": b"GIF89a", "path": None}}, "does not decode"),
        ("textvqa", {"answers": []}, "row 0: answers must be a list of texts"),
        ("mmmu_pro", {"options": "['a', 'b'"}, "options must be a list of texts, or one written"),
        ("mmmu_pro", {"options": "__import__('os')"}, "options must be a list of texts, or one"),
        ("mmmu_pro", {"options": "('a')"}, "options must be a list of texts, or one written"),
        ("mmmu_pro", {"answer": "Z"}, "row 0: answer must be one of the 4 options or their"),
        ("mmmu_pro", {"question": "See <image 4>"}, "must name one of the row's 2 images"),
        ("mmstar", {"question": "Which?"}, "question must end in options"),
        ("mathvista", {"precision": float("nan")}, "precision must be a finite number"),
        ("refcoco", {"bbox": [1.0, 2.0, 3.0]}, "bbox must be 4 finite numbers"),
        ("refcoco", {"bbox": [1.0, 2.0, 0.0, 3.0]}, "bbox must have a width and a height"),
        ("mm_math", {"solution": "no box"}, "answer must be non-empty text, or `solution`"),
        ("ocr_vqa", {"answers": ["one"]}, "answers must be one for each of 2 questions"),
    ],
)
def test_rows_that_break_a_preset_are_named(
    name: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    import datasets

    rows = [{**rows_of(name)[0], **change}]
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "x.parquet"))
    with pytest.raises(ObjectiveError, match=message):
        read_source(str(tmp_path / "x.parquet"), find_preset(name).rule)


def test_every_form_of_a_local_copy_reads_alike(tmp_path: Path) -> None:
    import datasets

    preset = find_preset("vl_rewardbench")
    file = write_copy("vl_rewardbench", tmp_path)
    table = datasets.Dataset.from_parquet(file, cache_dir=str(tmp_path / "cache"))
    (tmp_path / "clone" / "data").mkdir(parents=True)
    table.to_parquet(str(tmp_path / "clone" / "data" / "test-00000-of-00001.parquet"))
    table.save_to_disk(str(tmp_path / "disk"))
    datasets.DatasetDict({"test": table, "dev": table}).save_to_disk(str(tmp_path / "splits"))
    expected = read_source(file, preset.rule).examples
    for source in ("clone", "clone:test", "disk", "splits:test"):
        assert read_source(str(tmp_path / source), preset.rule).examples == expected, source
    with pytest.raises(ObjectiveError, match=r"it holds the splits \['test', 'dev'\]; name one"):
        read_source(str(tmp_path / "splits"), preset.rule)


def test_a_folder_of_images_reads_too(tmp_path: Path) -> None:
    import json

    (tmp_path / "chart.png").write_bytes(encoded(picture(1)))
    line = {"file_name": "chart.png", "question": "How much?", "answer": "3"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    (example,) = read_source(str(tmp_path), find_preset("chartqa").rule).examples
    assert list(example.images) == [picture(1)]
    assert example.id == "train-0"


def test_columns_of_a_copy_can_be_renamed(tmp_path: Path) -> None:
    import datasets

    rows = rows_of("vl_rewardbench")
    datasets.Dataset.from_list(rows).rename_column("query", "prompt").to_parquet(
        str(tmp_path / "x.parquet")
    )
    rule = find_preset("vl_rewardbench").rule
    taking = Taking(columns={"query": "prompt"})
    assert len(read_source(str(tmp_path / "x.parquet"), rule, taking).examples) == 4
    with pytest.raises(ObjectiveError, match=r"\['query'\] are missing; found"):
        read_source(str(tmp_path / "x.parquet"), rule)
    with pytest.raises(ObjectiveError, match=r"'qery' is no column .*, did you mean 'query'"):
        read_source(str(tmp_path / "x.parquet"), rule, Taking(columns={"qery": "prompt"}))


def test_an_unknown_preset_is_named_with_the_nearest() -> None:
    with pytest.raises(ObjectiveError, match="no preset 'mathvist', did you mean 'mathvista'"):
        find_preset("mathvist")


@pytest.mark.parametrize("preset", all_presets(), ids=lambda p: str(p.name))
def test_presets_are_frozen(preset: Preset) -> None:
    with pytest.raises(AttributeError):
        preset.name = "other"  # type: ignore[misc]
