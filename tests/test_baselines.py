"""Baselines: every row scored on the same examples, logged, and what they say by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from objectives.data import Example
from studies.baselines import run_baselines
from studies.captions import with_caption
from studies.cli import app
from studies.evaluator import count_test_reads
from studies.run import run_study
from studies.setup import read_study

Small = Callable[..., Path]


@pytest.fixture(scope="module")
def study_path(small_study: Small) -> Path:
    path = small_study("preference", out="baselined", trials=2, compare=False)
    run_study(read_study(path))
    return path


def test_every_baseline_of_a_preference_study_stands_in_the_table(study_path: Path) -> None:
    study = read_study(study_path)
    before = count_test_reads(study.out)
    result = CliRunner().invoke(app, ["baselines", str(study_path)])
    assert result.exit_code == 0
    content = json.loads((study.out / "baselines.json").read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert list(rows) == [
        "text reward model alone, no image",
        "cascade: captions by vlm, text reward model",
        "vlm as judge, scores 1 to 5",
        "vlm, log-probability",
        "found recipe, no image",
        "found recipe",
    ]
    for row in rows.values():
        assert row["n"] == 24
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert count_test_reads(study.out) == before + 6  # each is a look at the test split
    table = json.loads((study.out / "results.json").read_text())["rows"]
    known = {row["name"]: row["objectives"]["preference"]["value"] for row in table}
    assert rows["found recipe"]["value"] == known["found recipe"]
    assert rows["text reward model alone, no image"]["value"] == known["reward alone, no image"]
    assert (study.out / "baselines.md").read_text().count("\n") == 8


def test_captions_are_written_once_or_read(study_path: Path, tmp_path: Path) -> None:
    study = read_study(study_path)
    if not (study.out / "captions.json").is_file():
        run_baselines(study)
    kept = json.loads((study.out / "captions.json").read_text())
    ids = list(kept["captions"]["preference"])
    assert len(ids) == 24
    kept["captions"]["preference"] = dict.fromkeys(ids, "a text of no use")
    (study.out / "captions.json").write_text(json.dumps(kept))
    by_hand = tmp_path / "captions.jsonl"
    lines = [json.dumps({"id": name, "caption": "a text of no use"}) for name in ids]
    by_hand.write_text("\n".join(lines))
    cascades = []
    for captions in (None, by_hand):
        rows = run_baselines(study, captions)
        cascades.append(next(r for r in rows if r["name"].startswith("cascade"))["value"])
    assert cascades[0] == cascades[1]  # the kept ones were used, not written anew
    by_hand.write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match="1 of the test split have none, such as"):
        run_baselines(study, by_hand)
    by_hand.write_text("[]\n")
    with pytest.raises(UserError, match="must be JSON lines of id and caption"):
        run_baselines(study, by_hand)


def test_best_of_n_shows_the_draw_by_lot_beside_the_scorers(
    demo_folder: Path, small_study: Small
) -> None:
    lines = [
        {
            "id": f"b{i}",
            "question": f"What is {i}?",
            "responses": ["1", "2", "3", "4"],
            "correctness": [0.0, 1.0, 0.0, 1.0 if i % 2 else 0.0],
        }
        for i in range(12)
    ]
    (demo_folder / "n.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sizes = {"selection": 3, "confirm": 3, "test": 6}
    objective = {"name": "n", "kind": "best_of_n", "data": {"source": "n.jsonl"}, "split": sizes}
    path = small_study("preference", out="picked", objectives=[objective])
    rows = {row["name"]: row for row in run_baselines(read_study(path), votes=2)}
    assert (rows["Pass@1"]["value"], rows["Pass@N"]["value"]) == (0.0, 1.0)
    assert 0.25 <= rows["random"]["value"] <= 0.5
    for name in ("text reward model alone, no image", "vlm as judge, scores 1 to 5"):
        assert 0 <= rows[name]["value"] <= 1
        assert rows[name]["n"] == 6


def test_a_study_without_scored_responses_has_no_baselines(small_study: Small) -> None:
    path = small_study("reasoning", out="none")
    with pytest.raises(UserError, match="and the study has none"):
        run_baselines(read_study(path))


def test_only_questions_with_an_image_get_a_caption() -> None:
    example = Example("q", "How many ?", (), {}, "c")
    assert with_caption(example, "two red balls") is example
