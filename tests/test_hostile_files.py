"""Wrong and hostile study and recipe files: exit code 2, located lines, nothing written."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studies import cli
from tests import hostile
from tests.hostile import RECIPE, WHOLE, Hostile, dumped

FREE = {
    "parameters.lambda": {"-1", "[3]"},
    "search.knobs.weight.range.0": {"-1"},
    "search.knobs.weight.0": {"-1"},
    "search.knobs.weight.log": {"null"},
    "tracking.system_metrics": {"null"},
    "search.choices.normalize.0": {"1"},  # as mergekit, which takes 1.0 for true
    "search.choices.normalize.1": {"1"},
    "search.freeze": {"{zzz: 1}"},  # dimensions are known once the models are
    "search.freeze.weight.vlm.0.mlp": {"-1"},
    "objectives.0.split.test": {"3"},
    "models.0.parameters.weight": {"[3]", "-1"},
    "models.1.parameters.weight": {"3"},
    "models.1.parameters.weight.0": {"3"},
    "models.1.parameters.weight.0.value": {"[3]", "-1"},
    "parameters.normalize": {"1"},
}
"""Wrong values of `tests.hostile.WRONG` that these keys may have after all."""

ELSEWHERE = {"search.knobs.weight.range.1: -1", "search.knobs.weight.1: -1"}
"""Mistakes that are said of a whole, not of the value."""

EVERY = 8  # of the cases from the schema, in the quick test

OPEN = {"parameters", "search.freeze", "objectives.0.columns"}
"""Mappings whose keys the schema leaves open."""


def made() -> list[Hostile]:
    """Cases from the schema."""
    found: list[Hostile] = []
    for kind, whole in WHOLE:
        found += hostile.values(kind, whole, FREE)
        found += hostile.keys(kind, whole, OPEN)
    return found


def written() -> list[Hostile]:
    """Cases by hand."""
    return [
        *hostile.texts("study"),
        *hostile.texts("recipe"),
        *hostile.outputs(),
        *hostile.rules(),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("outer") / "hostile"
    for name in ("vlm", "base", "math"):
        (root / "models" / name).mkdir(parents=True)
        (root / "models" / name / "config.json").write_text("precious")
    for name in ("data/o.parquet", "old/recipe.yaml", "old/chat.jinja"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("precious")
    (root / "link").symlink_to("models/vlm")
    (root / "loop").symlink_to("loop")
    return root


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything in a folder with its size and time, the file under test left out."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.name != "hostile.yaml" and path != folder / "hostile"
    }


def refusal(
    case: Hostile, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """Exit code and standard error of the command that reads the file."""
    path = folder / "hostile.yaml"
    path.write_bytes(case.content)
    command = ["run", str(path)]
    if case.kind == "recipe":
        command = ["merge", str(path), "--out", str(folder / "out")]
    monkeypatch.setattr(sys, "argv", ["mergetuna", *command])
    monkeypatch.chdir(folder)
    capfd.readouterr()
    try:
        cli.main()
    except SystemExit as stopped:
        return stopped.code, capfd.readouterr().err
    except BaseException as error:
        return repr(error)[:300], capfd.readouterr().err
    return 0, capfd.readouterr().err


def faults(case: Hostile, code: object, said: str, path: Path) -> Iterator[str]:
    """What is wrong with how a file was refused."""
    if code != 2:
        yield f"exit {code}"
    if "Traceback" in said or "Warning" in said:
        yield "a traceback or warning"
    lines = said.splitlines()
    places = [re.match(rf"{re.escape(str(path))}:(\d+):(\d+): ", line) for line in lines]
    if not lines or not all(places):
        yield "no place"
    elif case.line and case.name.partition(": ")[2] not in ELSEWHERE:
        lines_said = {int(place[1]) for place in places if place}
        yield from [] if case.line in lines_said else [f"not at line {case.line}"]
    if len(lines) > 51 or any(len(line) > 1300 for line in lines):
        yield "a flood"


def test_there_are_enough_of_them() -> None:
    assert len(made()[::EVERY]) + len(written()) >= 300


def test_the_whole_files_are_valid_but_for_their_models(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for kind, whole in WHOLE:
        case = Hostile("good", kind, dumped(whole).encode())
        _, said = refusal(case, folder, monkeypatch, capfd)
        placed = [line for line in said.splitlines() if "hostile.yaml:" in line]
        assert all("weights must be safetensors" in line for line in placed), said
        assert "config.json" in said or "parquet" in said or "models" in said, said


@pytest.mark.parametrize("every", [EVERY, pytest.param(1, marks=pytest.mark.slow)])
def test_every_hostile_file_is_refused_in_located_lines_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], every: int
) -> None:
    before = tree(folder.parent)
    wrong = []
    for case in [*made()[::every], *written()]:
        code, said = refusal(case, folder, monkeypatch, capfd)
        found = list(faults(case, code, said, folder / "hostile.yaml"))
        if tree(folder.parent) != before:
            found.append("something was written")
            before = tree(folder.parent)
        if found:
            wrong.append(f"{case.name}: {', '.join(found)}: {said[-250:]}")
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "out",
    ["models/vlm", "models", ".", "..", "/", "models/vlm/sub", "link", "hostile.yaml", "loop"],
)
@pytest.mark.parametrize("option", ["--overwrite", "--reward-code"])
def test_a_merge_may_not_replace_what_it_reads(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    out: str,
    option: str,
) -> None:
    path = folder / "hostile.yaml"
    path.write_text(dumped(RECIPE))
    before = tree(folder.parent)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["mergetuna", "merge", path.name, "--out", out, option])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    said = capfd.readouterr().err
    assert f"--out {Path(out)}: " in said
    assert said.count("\n") == 1
    assert tree(folder.parent) == before
