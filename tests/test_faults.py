"""Faults while a study runs: one candidate, one item or one write fails, and the study goes on."""

import errno
import json
import os
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from merge_ops.errors import UserError
from merge_ops.resident import ResidentModel
from objectives import prompts
from objectives.engine import Engine
from objectives.errors import ObjectiveError
from objectives.evaluation import Evaluation
from objectives.settings import Settings
from studies.captions import _kept
from studies.engine_setup import PROMPTS
from studies.ledger import read_trials
from studies.paths import STATISTICS, TEST_READS
from studies.run import run_study
from studies.setup import read_study
from studies.statistics import collect_statistics

MakeStudy = Callable[..., Path]
FULL = OSError(errno.ENOSPC, "No space left on device")

CUDA_IS_FULL = torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("phase", "error"),
    [
        ("merged", CUDA_IS_FULL),
        ("scored", MemoryError("out")),
        pytest.param("merged", MemoryError("out"), marks=pytest.mark.slow),
        pytest.param("scored", CUDA_IS_FULL, marks=pytest.mark.slow),
    ],
)
def test_a_candidate_that_does_not_fit_fails_and_the_study_goes_on(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, phase: str, error: Exception
) -> None:
    owner: Any = {"merged": ResidentModel, "scored": Evaluation}[phase]
    name = {"merged": "become", "scored": "score"}[phase]
    own, calls = getattr(owner, name), [0]
    bad = {"merged": (2, 3), "scored": (2,)}[phase]  # a build is tried again without the caches

    def full(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] in bad:
            raise error
        return own(*arguments, **named)

    monkeypatch.setattr(owner, name, full)
    out = f"oom-{phase}-{type(error).__name__}"
    study = read_study(small_study("preference", out=out, trials=3, compare=False))
    assert run_study(study)["failed_trials"] == 1
    first, second, third = read_trials(study.out)
    assert second.user_attrs["reason"].startswith(f"out of memory while the candidate was {phase}")
    assert first.value is not None
    assert third.value is not None


def test_a_build_that_runs_out_once_is_tried_without_the_caches(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    become, calls = ResidentModel.become, [0]

    def full_once(*arguments: Any) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        become(*arguments)

    monkeypatch.setattr(ResidentModel, "become", full_once)
    study = read_study(small_study("preference", out="oom-once", trials=3, compare=False))
    assert run_study(study)["failed_trials"] == 0


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(ResidentModel, "become", broken)
    study = read_study(small_study("preference", out="no-oom", trials=3, compare=False))
    with pytest.raises(RuntimeError, match="shapes"):
        run_study(study, accept_changes=True)


@pytest.fixture
def picky(live: ResidentModel, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the tokenizer of the live model fail at prompts that hold some text."""
    own = type(live.processor).__call__

    def install(marker: str) -> None:
        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            if any(marker in text for text in named["text"]):
                raise IndexError("piece id is out of range")
            return own(self, *arguments, **named)

        monkeypatch.setattr(type(live.processor), "__call__", call)

    return install


def test_an_item_that_the_tokenizer_does_not_read_scores_nothing_and_is_counted(
    small_study: MakeStudy, live: ResidentModel, picky: Callable[[str], None]
) -> None:
    from studies.objectives_setup import make_objectives

    study = read_study(small_study("preference", out="unread", trials=1, compare=False))
    (pairs,) = make_objectives(study.config, study.folder).main
    said: list[str] = []
    evaluation = Evaluation(live, [pairs], Engine(Settings(block=8, report=said.append)))
    (before,) = evaluation.score_sets("selection")
    texts = {
        e.id: prompts.render(live, pairs.requests(e)[0].prompt)  # type: ignore[attr-defined]
        for e in pairs.examples("selection")
    }
    rarest = min(texts.values(), key=[*texts.values()].count)
    bad = sorted(id_ for id_, text in texts.items() if rarest in text)
    assert len(bad) < 4
    picky(rarest)
    again = Evaluation(live, [pairs], Engine(Settings(block=8, report=said.append)))
    (after,) = again.score_sets("selection")
    left = [s for s in after.scores if s.flags]
    assert sorted(s.id for s in left) == bad
    assert all((s.value, s.flags) == (0.0, ("undecodable",)) for s in left)
    for new, old in zip(after.scores, before.scores, strict=True):
        assert new in left or new.value == old.value
    for id_, line in zip(bad, sorted(said), strict=True):
        assert f"{id_} scores 0 for every candidate: the model's processor does not re" in line
        assert "IndexError: piece id is out of range" in line


def test_a_tokenizer_that_reads_nothing_is_no_fault_of_the_items(
    small_study: MakeStudy, live: ResidentModel, picky: Callable[[str], None]
) -> None:
    from studies.objectives_setup import make_objectives

    study = read_study(small_study("preference", out="unread-all", trials=1, compare=False))
    objectives = make_objectives(study.config, study.folder).main
    picky("")
    with pytest.raises(ObjectiveError, match="does not read"):
        Evaluation(live, objectives, Engine(Settings(block=8))).score_sets("selection")


WRITES = (
    *("splits.json", "about.json", "settings.json", "test_reads.jsonl", "results.json"),
    *("results.md", "found_scores.json", "evaluation.json", "recipe.yaml", "report.html"),
    "ledger.journal",
)


def test_every_file_of_a_study_waits_for_room_on_the_disk(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each is refused once; the study pauses, goes on, and comes out whole."""
    tracked = {"enabled": True, "uri": None}
    path = small_study("preference", out="disk", trials=2, compare=False, tracking=tracked)
    study, fsync = read_study(path), os.fsync
    refused: set[str] = set()

    def full_once(handle: int) -> None:
        file = Path(f"/proc/self/fd/{handle}").readlink()
        name = next((w for w in WRITES if w in file.name and file.parent == study.out), "")
        if name and name not in refused:
            refused.add(name)
            raise FULL
        fsync(handle)

    pauses: list[float] = []
    monkeypatch.setattr(os, "fsync", full_once)
    monkeypatch.setattr("studies.disk.time.sleep", pauses.append)
    results = run_study(study)
    assert refused == set(WRITES)
    assert len(pauses) == len(WRITES)
    assert "its disk is full; waiting up to 3600 s" in capfd.readouterr().err
    assert [t.number for t in read_trials(study.out)] == [0, 1]
    reads = [json.loads(line) for line in (study.out / TEST_READS).read_text().splitlines()]
    assert len(reads) == len({r["why"] for r in reads}) == results["test_reads"]
    assert not list(study.out.glob(".*.*"))  # no half of a file is left


def test_a_disk_that_stays_full_is_said_in_one_line(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise FULL

    runtime = {"dtype": "float32", "disk_wait": "1s"}
    path = small_study("preference", out="no-room", trials=2, compare=False, runtime=runtime)
    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("studies.disk._FIRST_PAUSE", 0.1)
    with pytest.raises(UserError, match="had no room for 1 s"):
        run_study(read_study(path))


def spoiled(path: Path, how: str) -> None:
    """Damage a file as a bad disk or a power cut does."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    changed = {
        "a bit": whole[:-3] + bytes([whole[-3] ^ 16]) + whole[-2:],
        "its header": whole[:middle].replace(b"structure", b"structurf") + whole[middle:],
        "cut": whole[:middle],
        "zeros": bytes(len(whole)),
        "empty": b"",
    }
    path.write_bytes(changed[how])


def test_damaged_files_of_the_prompt_cache_are_made_anew_and_no_score_changes(
    small_study: MakeStudy, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = {"dtype": "float32", "cache_gb": 0.0, "disk_cache_gb": 1.0}

    def facts(path: Path) -> dict[str, str]:
        with safe_open(path, "pt") as file:
            return dict(file.metadata())

    def run(out: str, trials: int) -> tuple[Path, list[object]]:
        asked = {"out": out, "trials": trials, "compare": False, "runtime": runtime}
        study = read_study(small_study("preference", **asked, name="cached"))
        run_study(study, accept_changes=True)
        return study.out, [t.user_attrs.get("scores") for t in read_trials(study.out)]

    _, expected = run("cache-whole", 3)
    out, _ = run("cache-damaged", 1)
    files = sorted((out / PROMPTS).glob("*.safetensors"))
    before = {path.name: facts(path) for path in files}
    ways = ("a bit", "its header", "cut", "zeros", "empty")
    assert len(files) >= len(ways)
    for path, how in zip(files, ways, strict=False):
        spoiled(path, how)
    capfd.readouterr()
    assert run("cache-damaged", 3)[1] == expected
    assert capfd.readouterr().err.count("this stored prompt is damaged") == 1
    assert {p.name: facts(p) for p in (out / PROMPTS).glob("*.safetensors")} == before


def test_statistics_wait_for_room_on_the_disk(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before they are collected, while they are written and at their end."""
    search = {"knobs": {"weight": [0.1, 1.0]}}
    asked = {"method": "fisher", "search": search, "statistics": {"items": 4}, "compare": False}
    expected = collect_statistics(read_study(small_study("preference", out="roomy", **asked)))
    own = {name: getattr(os, name) for name in ("posix_fallocate", "fsync")}
    refused: list[str] = []

    def once(name: str, *arguments: Any) -> None:
        file = Path(f"/proc/self/fd/{arguments[0]}").readlink().name
        if STATISTICS in file and name not in refused:
            refused.append(name)
            raise FULL
        own[name](*arguments)

    def half(stream: FileIO, content: memoryview) -> int:
        if "write" not in refused:
            refused.append("write")
            FileIO.write(stream, content[: len(content) // 2])
            raise FULL
        return FileIO.write(stream, content)

    class Filling(FileIO):
        write = half  # type: ignore[assignment]

    for name in ("posix_fallocate", "fsync"):
        monkeypatch.setattr(os, name, partial(once, name))
    monkeypatch.setattr("merge_ops.statistics_writer.FileIO", Filling)
    pauses: list[float] = []
    monkeypatch.setattr("studies.disk.time.sleep", pauses.append)
    study = read_study(small_study("preference", out="tight", **asked))
    study.out.mkdir()
    left = study.out / f".{STATISTICS}.killed"
    left.write_bytes(b"of a process that was killed")
    found = collect_statistics(study)
    assert found.sha256 == expected.sha256
    assert refused == ["posix_fallocate", "write", "fsync"]
    assert len(pauses) == 3
    assert capfd.readouterr().err.count("its disk is full; waiting up to 3600 s") == 3
    assert not left.exists()


def test_damaged_results_are_written_anew_from_the_ledger(small_study: MakeStudy) -> None:
    study = read_study(small_study("preference", out="damaged", trials=1, compare=False))
    before = run_study(study)
    path = study.out / "results.json"
    path.write_text(path.read_text()[:100])
    after = run_study(study)
    assert after["winner"] == before["winner"]
    assert json.loads(path.read_text())["winner"] == before["winner"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"by": 1}'])
def test_damaged_captions_are_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "captions.json").write_text(text)
    assert _kept(tmp_path / "captions.json") == {}
    assert _kept(tmp_path / "none.json") == {}
