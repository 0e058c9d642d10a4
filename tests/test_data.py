"""Examples from files: formats, mapped columns, and data that cannot be used."""

import json
from pathlib import Path

import pytest
from PIL import Image

from objectives.errors import ObjectiveError
from objectives.reading import read_examples

ROWS: list[dict[str, object]] = [
    {"id": "a", "question": "what ?", "answer": "3", "image": "one.png", "category": "x"},
    {"id": "b", "question": "who ?", "answer": "4", "image": None, "category": None},
]


def write(folder: Path, rows: list[dict[str, object]], name: str = "data.jsonl") -> str:
    Image.new("RGB", (4, 4), "red").save(folder / "one.png")
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_json_lines_name_images_relative_to_themselves(tmp_path: Path) -> None:
    first, second = read_examples(write(tmp_path, ROWS), ("answer",), {})
    assert first.images[0].getpixel((0, 0)) == (255, 0, 0)
    assert (first.category, second.category) == ("x", "all")
    assert second.images == ()
    assert first.pixels_sha256() != second.pixels_sha256() is None


def test_columns_can_be_mapped_and_rows_limited(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"uid": i, "query": "q", "gold": str(i), "kind": "k"} for i in range(3)
    ]
    columns = {"id": "uid", "question": "query", "answer": "gold", "category": "kind"}
    examples = read_examples(write(tmp_path, rows), ("answer",), columns, limit=2)
    assert [(e.id, e.texts["answer"], e.category) for e in examples] == [
        ("0", "0", "k"),
        ("1", "1", "k"),
    ]


def test_the_same_picture_is_known_under_another_name(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "id": name} for name in ("a", "b")]
    first, second = read_examples(write(tmp_path, rows), ("answer",), {})
    assert first.pixels_sha256() == second.pixels_sha256()


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [{"id": "a", "question": "q"}],
            {},
            r"\['answer'\] are missing; found \['id', 'question'\]",
        ),
        (ROWS, {"category": "kind"}, r"\['kind'\] are missing"),
        ([ROWS[0], ROWS[0]], {}, "row 1: ids must be unique, but 'a' stood before"),
        ([{**ROWS[0], "answer": ""}], {}, "row 0: answer must be non-empty text"),
        ([{**ROWS[0], "answer": [1]}], {}, "row 0: answer must be non-empty text"),
        ([{**ROWS[0], "image": "none.png"}], {}, "row 0: image: the image does not decode"),
        ([{**ROWS[0], "image": "broken.png"}], {}, "row 0: image: the image does not decode"),
    ],
)
def test_bad_data_is_refused_with_the_reason(
    tmp_path: Path, rows: list[dict[str, object]], columns: dict[str, str], message: str
) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1500])
    with pytest.raises(ObjectiveError, match=message):
        read_examples(write(tmp_path, rows), ("answer",), columns)


@pytest.mark.parametrize("name", ["none.jsonl", "none.parquet"])
def test_a_missing_file_is_said_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ObjectiveError, match=f"{name}: the data cannot be read"):
        read_examples(str(tmp_path / name), ("answer",), {})


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError):
        read_examples(write(tmp_path, []), ("answer",), {})
