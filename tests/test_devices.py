"""A device that this machine lacks: one line that names those that there are, before any work."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merge_ops.devices import check_device, devices
from merge_ops.errors import UserError
from studies import cli
from studies.setup import read_study
from studies.validation import validate_study

ABSENT = "cuda:98"  # a place in a machine that nobody has


@pytest.mark.parametrize("name", [ABSENT, "npu:98", "foo", "", "cpu cuda", "c\n" * 200])
def test_what_is_no_device_here_is_refused(name: str) -> None:
    with pytest.raises(UserError) as refused:
        check_device(name)
    assert ", ".join(devices()) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_every_device_here_is_taken() -> None:
    for name in devices():
        check_device(name)
        check_device(name.partition(":")[0])


def test_a_study_says_where_the_device_stands_and_leaves_nothing(
    small_study: Callable[..., Path],
) -> None:
    path = small_study("preference", out="elsewhere", runtime={"device": ABSENT})
    line = next(n for n, t in enumerate(path.read_text().splitlines(), 1) if "device:" in t)
    place = f"{path}:{line}:3: runtime.device: device must be one of this machine, cpu"
    for command in (["run", str(path)], ["eval", str(path.parent / "models/vlm"), "--study"]):
        called = [*command, str(path)] if command[0] == "eval" else command
        said = CliRunner().invoke(cli.app, called)
        assert isinstance(said.exception, UserError)
        assert str(said.exception).startswith(place)
    assert not [p for p in (path.parent / "elsewhere").glob("*") if p.name != ".lock"]
    for quick in (True, False):
        found = validate_study(read_study(path), quick=quick)
        assert [problem for problem in found.problems if problem.startswith(place)]
        assert len(found.problems) == 1
        assert found.models  # the rest is checked all the same
        assert not found.memory


@pytest.mark.parametrize("command", ["merge", "align", "export"])
def test_an_option_is_checked_before_anything_is_loaded_or_written(
    command: str, demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.yaml").write_text("merge_method: linear\n")
    loaded: list[str] = []
    monkeypatch.setattr("merge_ops.opening.open_models", loaded.append)
    models = [str(demo_folder / "models" / name) for name in ("vlm", "math")]
    out = ["--out", str(tmp_path / "out")]
    called = {
        "merge": ["merge", str(tmp_path / "recipe.yaml"), *out],
        "align": ["align", *models],
        "export": ["export", str(tmp_path), *out],
    }[command]
    said = CliRunner().invoke(cli.app, [*called, "--device", ABSENT])
    assert isinstance(said.exception, UserError)
    assert "device must be one of this machine" in str(said.exception)
    assert not loaded
    assert not (tmp_path / "out").exists()
