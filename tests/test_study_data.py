"""Data in a study file: presets, splits from one source, and what is wrong with either."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from objectives.records import SPLITS
from objectives.tables import Table, open_table
from studies.cli import app
from studies.kinds import KINDS
from studies.makers import MAKERS, ROLES
from studies.objective_data import StudyData, read_study_data
from studies.setup import StudyFile, read_study
from studies.splits_file import claim_splits
from tests.published import encoded, picture, stored, write_copy

MODELS = """\
name: s
target: a/vlm
base: a/base
experts: [{model: a/vlm, name: vlm}, {model: a/math, name: math}]
reward_head: a/reward
search: {knobs: {weight: [0, 1]}}
objectives:
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a study file with these lines of objectives."""

    def made(objectives: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(MODELS + objectives)
        return path

    return made


def data_of(study: StudyFile) -> StudyData:
    return read_study_data(study.config, study.folder, ROLES)


def ids(data: StudyData, name: str) -> dict[str, list[str]]:
    return {split: [e.id for e in data.splits[name][split]] for split in SPLITS}


def lines(folder: Path, name: str, count: int, **changes: Any) -> str:
    rows = [{"id": f"{name}{i}", "question": f"{name} {i} ?", "answer": "x"} for i in range(count)]
    text = "".join(json.dumps({**row, **changes}) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(text)
    return f"{name}.jsonl"


def pairs(folder: Path, count: int, *, shared: int) -> None:
    """A copy of RLAIF-V, the first `shared` of it about pictures of `vl_rewardbench`'s copy."""
    import datasets

    rows = [
        {
            "image": stored(i) if i < shared else stored(100 + i),
            "question": f"Tell {i}.",
            "chosen": "good",
            "rejected": "bad",
            "idx": i,
        }
        for i in range(count)
    ]
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    table.to_parquet(str(folder / "pairs.parquet"))


def test_every_kind_can_be_made_and_read() -> None:
    assert set(KINDS) == set(MAKERS) == set(ROLES)


def test_a_preset_alone_is_an_objective(write: Write) -> None:
    (objective,) = read_study(write("  - preset: vl_rewardbench\n")).config.objectives
    assert (objective.name, objective.kind, objective.search_on) == (
        "vl_rewardbench",
        "preference",
        "rlaif_v_400",
    )
    study = read_study(write("  - {preset: gqa, name: see, max_new_tokens: 4}\n"))
    (other,) = study.config.objectives
    assert (other.name, other.kind) == ("see", "generation")
    assert other.suffix == "Answer the question using a single word or phrase."


def test_vl_rewardbench_is_for_test_and_rlaif_v_drives_the_search(
    write: Write, tmp_path: Path
) -> None:
    write_copy("vl_rewardbench", tmp_path)
    pairs(tmp_path, 12, shared=2)
    study = read_study(
        write("  - {preset: vl_rewardbench, data: {test: test.parquet, source: pairs.parquet}}\n")
    )
    data = data_of(study)
    found = ids(data, "vl_rewardbench")
    assert {split: len(names) for split, names in found.items()} == {
        "selection": 5,
        "confirm": 5,
        "test": 4,
    }
    assert not {"0", "1"} & {*found["selection"], *found["confirm"]}
    assert data.notes == (
        "vl_rewardbench: left out 2 of the examples to draw from: test of vl_rewardbench holds "
        "the same (by image)",
    )
    assert [d["id"] for d in data.record["dropped"]] == ["0", "1"]
    assert data.record["dropped"][0]["like"] == ["vl_rewardbench", "test", "RLAIF-V-3"]
    assert {"hashes", "rules", "seeds", "sources"} < set(data.record)


def test_one_source_and_sizes_make_three_splits(write: Write, tmp_path: Path) -> None:
    lines(tmp_path, "all", 20)
    text = (
        "  - {name: q, kind: generation, data: all.jsonl, suffix: Be brief., "
        "split: {selection: 8, confirm: 0.25, test: rest%s}}\n"
    )
    first = data_of(read_study(write(text % "")))
    found = ids(first, "q")
    assert [len(names) for names in found.values()] == [8, 5, 7]
    assert all(e.question.endswith("?\nBe brief.") for e in first.splits["q"]["test"])
    assert ids(data_of(read_study(write(text % ", seed: 1"))), "q") != found


def test_two_objectives_read_one_source_once(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines(tmp_path, "all", 20)
    opened: list[str] = []

    def counted(source: str, *, stream: bool) -> Table:
        opened.append(source)
        return open_table(source, stream=stream)

    monkeypatch.setattr("objectives.reading.open_table", counted)
    sizes = "{selection: 4, confirm: 4, test: rest}"
    one = f"  - {{name: %s, kind: generation, data: all.jsonl, split: {sizes}}}\n"
    data = data_of(read_study(write(one % "a" + one % "b")))
    assert len(opened) == 1
    assert ids(data, "a") == ids(data, "b")


def test_bad_rows_are_skipped_and_said(write: Write, tmp_path: Path) -> None:
    lines(tmp_path, "all", 20)
    rows = (tmp_path / "all.jsonl").read_text().splitlines()
    rows[3] = json.dumps({**json.loads(rows[3]), "answer": ""})
    (tmp_path / "all.jsonl").write_text("\n".join(rows))
    sizes = "{selection: 8, confirm: 4, test: rest}"
    text = f"  - {{name: q, kind: generation, data: all.jsonl, split: {sizes}%s}}\n"
    with pytest.raises(ObjectiveError, match=r"all.jsonl: row 3: answer must be non-empty text"):
        data_of(read_study(write(text % "")))
    data = data_of(read_study(write(text % ", on_bad: skip")))
    assert "left out 1 of 20 rows: answer must be non-empty text" in data.notes[0]
    assert data.record["sources"][0]["skipped"] == {"answer must be non-empty text": 1}


def test_ids_that_begin_anew_in_each_file_are_refused(write: Write, tmp_path: Path) -> None:
    for name in SPLITS:
        lines(tmp_path, name, 3)
    text = (tmp_path / "test.jsonl").read_text().replace('"test0"', '"selection0"')
    (tmp_path / "test.jsonl").write_text(text)
    study = read_study(
        write(
            "  - {name: q, kind: generation, data: "
            "{selection: selection.jsonl, confirm: confirm.jsonl, test: test.jsonl}}\n"
        )
    )
    with pytest.raises(
        ObjectiveError, match="ids must be unique, but 'selection0' is one example"
    ):
        data_of(study)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            "{preset: vl_rewardbnch}",
            "8:6: objectives.0.preset: there is no data set 'vl_rewardbnch', did you mean "
            "'vl_rewardbench'?",
        ),
        (
            "{preset: mmmu_pro, kind: preference}",
            "8:6: objectives.0.preset: mmmu_pro is scored by choice_letter, but the kind",
        ),
        (
            "{preset: chartqa, kind: best_of_n}",
            "preset: chartqa is scored by relaxed_accuracy, but the kind best_of_n scores",
        ),
        (
            "{preset: gqa, on_bad: ignore}",
            "objectives.0.on_bad: Input should be 'error' or 'skip', but got 'ignore'",
        ),
        ("{preset: gqa, limitt: 5}", "objectives.0.limitt: unknown key, did you mean 'limit'?"),
        (
            "{preset: gqa, search_on: rlaif}",
            "objectives.0.search_on: there is no data set 'rlaif', did you",
        ),
        (
            "{preset: gqa, split: {selection: 0}}",
            "split.selection: must be a number of examples, a share below 1.0, or rest",
        ),
        (
            "{preset: gqa, split: {selection: 1.5}}",
            "split.selection: must be a number of examples",
        ),
        (
            "{preset: gqa, split: {test: rest, confirm: rest}}",
            "objectives.0.split: only one split can be the rest",
        ),
        (
            "{preset: gqa, split: {seed: 3}}",
            "split: must name a size for selection, confirm or test",
        ),
        (
            "{preset: gqa, split: {selektion: 3}}",
            "split.selektion: unknown key, did you mean 'selection'?",
        ),
        (
            "{preset: gqa, data: {test: x}, split: {selection: 3, test: 4}}",
            "split.test: it has a source of its own under `data`",
        ),
        (
            "{preset: multimodal_rewardbench}",
            "objectives.0.data: multimodal_rewardbench is not on the hub; name a copy",
        ),
        (
            "{name: q, kind: generation}",
            "objectives.0.data: the key 'selection' is required; or name one source",
        ),
        (
            "{name: q, kind: generation, data: x.jsonl}",
            "objectives.0.data.source: no split is drawn from it; say by `split`",
        ),
        (
            "{name: q, kind: generation, split: {selection: 3, confirm: 3, test: 3}}",
            "objectives.0.data: `split` needs a source: `data: PATH`",
        ),
        (
            "{name: q, kind: generatoin, data: x}",
            "not 'generatoin', did you mean 'generation'?",
        ),
        ("{name: q, kind: generation, data: [x]}", "objectives.0.data:"),
    ],
)
def test_mistakes_are_placed_in_the_file(write: Write, objective: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        read_study(write(f"  - {objective}\n"))
    assert message in str(raised.value)
    assert "study.yaml:8:" in str(raised.value)


def test_a_study_that_has_begun_goes_on_with_the_same_examples(tmp_path: Path) -> None:
    record = {"objectives": {"q": {"selection": ["a"], "confirm": ["b"], "test": ["c"]}}}
    other = {"objectives": {"q": {"selection": ["z"], "confirm": ["b"], "test": ["c"]}}}
    claim_splits(tmp_path, record)
    claim_splits(tmp_path, other)  # no trial yet
    (tmp_path / "ledger.journal").write_text("")
    claim_splits(tmp_path, other)
    with pytest.raises(UserError, match=r"this study began with other examples .q, selection."):
        claim_splits(tmp_path, record)
    assert json.loads((tmp_path / "splits.json").read_text()) == other


def test_the_command_lists_kinds_and_presets_and_shows_one() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["objectives"]).output
    for word in ("generation", "preference", "vl_rewardbench", "textvqa", "choice", "lm_eval"):
        assert word in listed
    shown = runner.invoke(app, ["objectives", "vl_rewardbench"]).output
    for word in ("human_ranking", "pair_accuracy", "arXiv:2411.17451", "from rlaif_v_400"):
        assert word in shown
    assert "chartqa" in runner.invoke(app, ["objectives", "chartqa"]).output
    assert isinstance(runner.invoke(app, ["objectives", "chart"]).exception, ObjectiveError)


def test_one_picture_cannot_stand_in_three_splits(write: Write, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "p.png").write_bytes(encoded(picture(1)))
    lines(tmp_path / "data", "all", 6, image="p.png")
    sizes = "{selection: 2, confirm: 2, test: rest}"
    text = f"  - {{name: q, kind: generation, data: data/all.jsonl, split: {sizes}}}\n"
    with pytest.raises(ObjectiveError, match="the splits must not share examples"):
        data_of(read_study(write(text)))  # six questions about one picture are one group
