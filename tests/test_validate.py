"""`mergetuna validate`: what is wrong and how long it will take, told before anything runs."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from transformers.utils.import_utils import is_flash_attn_2_available
from typer.testing import CliRunner

from objectives.data import Example
from objectives.generation import Generation
from objectives.records import SPLITS
from studies import cli, validation
from studies.estimate import Phase, estimate
from studies.run import run_study
from studies.setup import read_study
from studies.validation import Validation, validate_study
from studies.workload import Part, SearchWork, Timings, Work, key_of

MakeStudy = Callable[..., Path]


def phases(found: Validation) -> dict[str, float]:
    assert found.ok, found.problems
    assert found.estimate is not None
    return {phase.name: phase.seconds for phase in found.estimate.phases}


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", ["reasoning", pytest.param("preference", marks=pytest.mark.slow)])
def test_the_time_told_is_within_twice_of_what_the_study_takes(
    kind: str, small_study: MakeStudy
) -> None:
    """In CPU seconds: other processes on the machine slow both down, but not alike."""
    study = read_study(small_study(kind, out=f"v-{kind}", trials=10))
    told = phases(validate_study(study, clock=time.process_time))
    begun = time.process_time()
    run_study(study)
    took = time.process_time() - begun
    assert 0.5 < sum(told.values()) / took < 2, (told, took)
    again = validate_study(study)
    assert again.ok
    assert again.estimate is None
    assert "20 trials are finished" in again.state


def test_nothing_is_written(small_study: MakeStudy, demo_folder: Path) -> None:
    path = small_study("preference", out="v-none", trials=3)
    before = tree(demo_folder)
    told = phases(validate_study(read_study(path)))
    assert list(told) == ["start", "search", "without depth", "confirm", "test", "write"]
    assert tree(demo_folder) == before
    assert not (demo_folder / "v-none").exists()


def test_quick_loads_no_model(small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(validation, "load_models", load)
    path = small_study("preference", out="v-quick", trials=3)
    said = CliRunner().invoke(cli.app, ["validate", str(path), "--quick", "--json"])
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert told["ok"] is True
    assert told["estimate"] is None
    assert told["data"] == {"preference": {"selection": 24, "confirm": 24, "test": 24}}
    assert told["search"] == {
        "method": "task_arithmetic",
        "dimensions": 12,
        "sampler": "cma",
        "trials": 3,
    }
    (plan,) = told["memory"]
    assert [item["what"] for item in plan["items"]][:2] == [
        "live model",
        "float32 copies of one tensor",
    ]
    assert all(item["bytes"] > 0 for item in plan["items"])
    assert any(
        "reward: LlamaForSequenceClassification, layers 0-5 -> 0-5" in m for m in told["models"]
    )


def test_all_that_is_wrong_is_told_at_once(small_study: MakeStudy, demo_folder: Path) -> None:
    text = small_study("preference", out="v-wrong", trials=3).read_text()
    text = text.replace("preferences-confirm", "absent").replace("models/base", "models/wide")
    broken = demo_folder / "models" / "wide"
    broken.mkdir(exist_ok=True)
    (broken / "config.json").write_text("{}")
    path = demo_folder / "v-wrong.yaml"
    path.write_text(text)
    said = CliRunner().invoke(cli.app, ["validate", str(path)])
    (broken / "config.json").unlink()
    broken.rmdir()
    assert said.exit_code == 2
    assert "it would not run" in said.stdout
    assert "absent.parquet" in said.stderr
    assert "models/wide" in said.stderr
    assert not (demo_folder / "v-wrong").exists()


def test_what_is_solved_or_collected_first_has_phases_of_its_own(small_study: MakeStudy) -> None:
    fixed = {"warm_start": [], "compare": False}
    knobs = {"knobs": {"alpha": [0.5, 1.5]}}
    solved = small_study("preference", out="v-tsv", method="tsv", search=knobs, **fixed)
    told = validate_study(read_study(solved))
    assert phases(told)["solve"] > 0
    knobs = {"knobs": {"weight": [0.1, 1.0]}}
    observed = small_study("preference", out="v-regmean", method="regmean", search=knobs, **fixed)
    told = validate_study(read_study(observed))
    assert phases(told)["collect"] > 0
    assert not read_study(observed).out.exists()


ROWS = tuple(Example(str(i), "?", (), {"answer": "x"}, "all") for i in range(100))
ONE = (Generation("maths", dict.fromkeys(SPLITS, ROWS)),)
TIMES = Timings(
    build=1.0,
    warm_up=5.0,
    costs={key_of(ONE): (Part(ONE, first=0.3, again=0.1),)},
    candidates=2,
    examples=10,
    bytes_per_example=1000.0,
)
SEARCH = SearchWork("search", 20, 0, 5, 10, "random")
WORK = Work(ONE, [SEARCH, replace(SEARCH, name="rival")], 4, [ONE, ONE], cache=10**9)


def test_first_candidates_read_the_prompts_and_later_ones_do_not() -> None:
    told = {p.name: p.seconds for p in estimate(WORK, TIMES, [Phase("start", 7.0, "")]).phases}
    each = 1 + 100 * 0.1
    assert told["start"] == 7
    assert told["rival"] == pytest.approx(20 * each, rel=0.05)
    assert told["search"] - told["rival"] == pytest.approx(5 + 100 * 0.2)
    assert told["confirm"] == pytest.approx(4 * each + 100 * 0.2)
    assert told["test"] == pytest.approx(2 * each + 100 * 0.2)


def test_prompts_that_do_not_fit_into_the_caches_are_read_by_every_candidate() -> None:
    found = estimate(replace(WORK, cache=50_000), TIMES, [])
    told = {p.name: p.seconds for p in found.phases}
    assert told["rival"] == pytest.approx(20 * (1 + 50 * 0.1 + 50 * 0.3), rel=0.05)
    assert told["confirm"] == pytest.approx(4 * (1 + 100 * 0.3) + 100 * 0.2)
    assert "50 % of the selection split fit" in found.notes[-1]


def test_a_budget_of_time_ends_the_searches() -> None:
    told = {p.name: p.seconds for p in estimate(replace(WORK, timeout=100.0), TIMES, []).phases}
    assert (told["search"], told["rival"]) == (50, 50)
    endless = [replace(search, trials=None) for search in WORK.searches]
    found = estimate(replace(WORK, searches=endless, timeout=300.0), TIMES, [])
    assert [p.seconds for p in found.phases[:2]] == [150, 150]
    assert "about 13 trials" in found.phases[0].how


def test_what_earlier_runs_have_done_is_not_counted_again() -> None:
    begun = replace(SEARCH, trials=5, finished=15)
    told = estimate(replace(WORK, searches=[begun]), TIMES, []).phases[0]
    assert told.seconds == pytest.approx(5 * 11 + 5 + 20, rel=0.05)
    assert "15 are finished" in told.how
    over = replace(SEARCH, trials=0, finished=20)
    assert estimate(replace(WORK, searches=[over]), TIMES, []).phases[0].seconds == 0


def test_names_and_sizes_that_fit_no_model_have_their_place_in_the_file(
    small_study: MakeStudy,
) -> None:
    def found(**keys: object) -> Validation:
        path = small_study("preference", out="v-unfit", trials=3, **keys)
        return validate_study(read_study(path), quick=True)

    unfit = found(runtime={"device": "cpu", "memory_gb": 0.0001}).problems
    assert re.match(r".*:\d+:3: runtime\.memory_gb: cpu must hold .*, but has 97\.7 KiB", unfit[0])
    void = found(search={"knobs": {"weight": [0, 1]}, "modules": {"part": ["self_atn"]}})
    assert "search: weight.vlm.0.part has no effect; freeze it or leave it out" in void.warnings
    noted = found(exclude=["embed_tokens", "lm_head", "down_prj"])
    assert noted.ok
    assert "exclude: 'down_prj' is part of no tensor's name, did you mean 'down_proj'?" in (
        noted.warnings
    )


@pytest.mark.skipif(is_flash_attn_2_available(), reason="flash-attn is installed")
def test_attention_whose_package_is_missing_is_refused_before_a_model_is_read(
    small_study: MakeStudy,
) -> None:
    runtime = {"device": "cpu", "attention": "flash_attention_2"}
    path = small_study("preference", out="v-flash", trials=3, runtime=runtime)
    (problem,) = validate_study(read_study(path), quick=True).problems
    assert re.match(r".*:\d+:3: runtime\.attention: flash_attention_2 needs a GPU", problem)
