"""Data that cannot be used: an error with source, row, column and value, or counted skips."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from objectives.data import Example, with_suffix
from objectives.errors import ObjectiveError
from objectives.images import Pictures, read_picture
from objectives.preset import all_presets, find_preset
from objectives.reading import Reading, Taking, read_source
from objectives.rows import LONGEST, Row
from objectives.rules import Roles, plain_rule
from tests.published import encoded, picture, rows_of

GOOD: dict[str, Any] = {"id": "a", "question": "what ?", "answer": "3"}
RULE = plain_rule(Roles(texts=("answer",)))


def read(folder: Path, rows: list[dict[str, Any]], **taking: Any) -> Reading:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_source(str(path), RULE, Taking(**taking))


def numbered(count: int) -> list[dict[str, Any]]:
    return [{**GOOD, "id": str(i), "question": f"q {i}"} for i in range(count)]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"answer": ""}, "row 1: answer must be non-empty text, but is ''"),
    ({"answer": "  \n"}, "row 1: answer must be non-empty text"),
    ({"answer": None}, "row 1: answer must be non-empty text, but is None"),
    ({"answer": True}, "row 1: answer must be non-empty text, but is True"),
    ({"answer": ["3"]}, "row 1: answer must be non-empty text, but is .'3'."),
    ({"question": "x" * 100_000}, r"row 1: question must be at most 65,536 characters, but is"),
    ({"id": "0"}, "row 1: ids must be unique, but '0' stood before"),
    ({"image": "no.png"}, "row 1: image: the image does not decode"),
    ({"image": "cut.jpg"}, "row 1: image: the image does not decode: .*truncated"),
    ({"image": "data.jsonl"}, "row 1: image: the image does not decode"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_a_bad_row_stops_or_is_counted(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    (tmp_path / "cut.jpg").write_bytes(encoded(picture(0, 200), "JPEG")[:900])
    rows = numbered(3)
    rows[1] = {**rows[1], **change}
    with pytest.raises(ObjectiveError, match=message):
        read(tmp_path, rows)
    reading = read(tmp_path, rows, on_bad="skip")
    assert [e.id for e in reading.examples] == ["0", "2"]
    assert (reading.rows, sum(reading.skipped.values())) == (3, 1)
    (note,) = reading.notes()
    assert "left out 1 of 3 rows" in note
    assert "the first: row 1: " in note


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("rlaif_v", "rejected", ""),
        ("rlaif_v", "chosen", "  "),
        ("vl_rewardbench", "response", ["fine", ""]),
        ("vl_rewardbench", "response", []),
        ("best_of_n", "responses", ["Dakota.", ""]),
    ],
)
def test_an_empty_response_stops_or_is_counted(
    tmp_path: Path, name: str, column: str, value: Any
) -> None:
    rows = [dict(row, image=None) for row in rows_of(name) for _ in range(2)]
    names = {"rlaif_v": "idx"}
    rows = [{**row, names.get(name, "id"): f"RLAIF-V-{i}"} for i, row in enumerate(rows)]
    rows[0] = {**rows[0], column: value}
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rule = find_preset(name).rule
    with pytest.raises(ObjectiveError, match=rf"row 0: {column} must be .*but is"):
        read_source(str(path), rule, Taking())
    reading = read_source(str(path), rule, Taking(on_bad="skip"))
    assert len(reading.examples) == len(rows) - 1
    assert sum(reading.skipped.values()) == 1


def test_faults_of_a_kind_are_counted_together(tmp_path: Path) -> None:
    rows = numbered(6)
    for i in (1, 2, 4):
        rows[i]["answer"] = ""
    rows[3]["question"] = None
    reading = read(tmp_path, rows, on_bad="skip")
    assert dict(reading.skipped) == {
        "answer must be non-empty text": 3,
        "question must be non-empty text": 1,
    }


def test_nothing_left_is_an_error_even_when_rows_are_skipped(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match=r"none came of 1 rows\.\n.*left out 1 of 1 rows"):
        read(tmp_path, [{**GOOD, "answer": ""}], on_bad="skip")
    with pytest.raises(ObjectiveError, match="at least one example"):
        read(tmp_path, [])


def test_missing_columns_are_never_skipped(tmp_path: Path) -> None:
    rows = [{"id": "a", "question": "q"}]
    with pytest.raises(ObjectiveError, match=r"\['answer'\] are missing; found"):
        read(tmp_path, rows, on_bad="skip")


def test_text_that_is_not_utf8_is_said_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"id": "b", "question": "caf\xe9"}\n')
    with pytest.raises(ObjectiveError, match=r"latin.jsonl: the data cannot be read.*utf-8"):
        read_source(str(path), RULE)


def test_half_a_json_file_is_said_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    path.write_text(json.dumps(GOOD) + '\n{"id": "b", "ques')
    with pytest.raises(ObjectiveError, match=r"half.jsonl: the data cannot be read"):
        read_source(str(path), RULE)


@pytest.mark.parametrize("name", ["data.xlsx", "data"])
def test_other_files_are_refused_by_their_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ObjectiveError, match=r"its name must end in .parquet, .jsonl"):
        read_source(str(tmp_path / name), RULE)


def test_options_must_be_a_list_and_hold_the_answer() -> None:
    def row(**values: Any) -> Row:
        return Row("data", 3, "data", Path(), values)

    with pytest.raises(ObjectiveError, match="data: row 3: options must be a list of texts"):
        row(options=5).literal_texts("options")
    with pytest.raises(ObjectiveError, match="options must be a list of texts, or"):
        row(options="[" * 50_000).literal_texts("options")
    with pytest.raises(ObjectiveError, match="options must be non-empty text, but is nan"):
        row(options=["a", float("nan")]).literal_texts("options")
    assert row(answer=1).letter("answer", ("x", "y")) == "B"
    assert row(answer="(b)").letter("answer", ("x", "y")) == "B"
    assert row(answer="y").letter("answer", ("x", "y")) == "B"
    for wrong in ("C", "z", None, True, 2, -1):
        with pytest.raises(ObjectiveError, match="answer must be one of the 2 options or their"):
            row(answer=wrong).letter("answer", ("x", "y"))
    with pytest.raises(ObjectiveError, match="correctness must be 2 finite numbers"):
        row(correctness=[1.0, float("nan")]).numbers("correctness", 2)
    with pytest.raises(ObjectiveError, match="text must be valid Unicode"):
        row(text="half \ud800").text("text")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.sampled_from(["['a', 'b']", "A", "<image 3>", "x" * (LONGEST + 1), "[" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.data())
def test_any_row_is_an_example_or_an_error_that_names_it(data: st.DataObject) -> None:
    preset = data.draw(st.sampled_from(all_presets()))
    row = dict(data.draw(st.sampled_from(rows_of(preset.name))))
    for column in data.draw(st.lists(st.sampled_from(sorted(preset.rule.columns())), max_size=3)):
        row[column] = data.draw(VALUES)
    found, said = [], "data: row 7: "
    try:
        found = list(preset.rule.examples(Row("data", 7, "data", Path("/nowhere"), row)))
    except ObjectiveError as error:
        said = str(error)
    assert said.startswith("data: row 7: ")
    assert len(said) < 600
    for example in found:
        assert example.id
        assert example.question.strip()
        texts = [*example.texts.values(), *(t for ts in example.lists.values() for t in ts)]
        assert all(text.strip() for text in texts)
        answer, options = example.texts.get("answer"), example.lists.get("options")
        open_question = preset.name == "mmmu" and options is None  # left out by the objective
        if preset.kind == "choice" and not open_question:
            assert answer is not None
            assert options is not None
            assert ord(answer) - ord("A") < len(options)


def test_the_head_reads_no_further_and_a_reservoir_takes_from_everywhere(tmp_path: Path) -> None:
    rows = numbered(200)
    rows[150]["answer"] = ""
    head = read(tmp_path, rows, limit=20)
    assert [e.id for e in head.examples] == [str(i) for i in range(20)]
    taken = read(tmp_path, rows, limit=20, sample="reservoir", on_bad="skip")
    numbers = [int(e.id) for e in taken.examples]
    assert numbers == sorted(numbers)
    assert max(numbers) > 100
    assert numbers != [
        int(e.id)
        for e in read(tmp_path, rows, limit=20, sample="reservoir", seed=1, on_bad="skip").examples
    ]


def test_pictures_are_not_held_decoded(tmp_path: Path) -> None:
    import datasets

    big = encoded(picture(1, 1200), "JPEG")  # 4.3 MB decoded
    rows = [{**GOOD, "id": str(i), "image": {"bytes": big, "path": None}} for i in range(12)]
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "x.parquet"))
    tracemalloc.start()
    examples = read_source(str(tmp_path / "x.parquet"), RULE).examples
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 12 * (len(big) + 20_000) + 5_000_000
    assert examples[0].images[0].size == (1200, 1200)


def test_pictures_behave_as_a_tuple_of_decoded_ones() -> None:
    stored = [read_picture(encoded(picture(seed))) for seed in range(3)]
    pictures = Pictures(stored)
    assert (len(pictures), bool(pictures), bool(Pictures([]))) == (3, True, False)
    assert list(pictures) == [picture(seed) for seed in range(3)]
    assert pictures[-1] == picture(2)
    assert pictures[:2] == Pictures(stored[:2]) == (picture(0), picture(1))
    assert pictures != Pictures(stored[:2])
    assert pictures != "abc"
    assert len({pictures, Pictures(stored)}) == 1
    one = Example("a", "q", pictures, {}, "all")
    assert one.pixels_sha256() == Example("b", "q", tuple(pictures), {}, "all").pixels_sha256()


def test_a_turned_photograph_is_shown_upright() -> None:
    import io

    image = Image.new("RGB", (8, 4), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by a quarter
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif)
    assert read_picture(stream.getvalue()).decoded().size == (4, 8)


def test_a_suffix_stands_behind_the_question_or_apart_from_it() -> None:
    plain = Example("a", "what ?", (), {}, "all")
    assert with_suffix(plain, "") is plain
    assert with_suffix(plain, "Be brief.").question == "what ?\nBe brief."
    apart = with_suffix(plain, "Be brief.", apart=True)
    assert (apart.question, apart.texts) == ("what ?", {"suffix": "Be brief."})


def test_a_preset_reads_a_source_of_another_shape_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(GOOD) + "\n")
    with pytest.raises(ObjectiveError, match=r"columns \['answers', 'image', 'question', 'questi"):
        read_source(str(tmp_path / "x.jsonl"), find_preset("textvqa").rule)
