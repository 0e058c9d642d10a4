"""A file where a study's folder is wanted, or the other way round: what was meant is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from studies import cli

TEXT = "name: night\nobjectives: []\n"


def refused(*arguments: str | Path) -> str:
    said = CliRunner().invoke(cli.app, [*map(str, arguments)])
    assert isinstance(said.exception, UserError), said.output
    assert said.stdout == ""
    return str(said.exception)


READERS = {
    "status": (),
    "report": (),
    "trials": (),
    "best": (),
    "sync": (),
    "ui": ("--no-open",),
    "export": ("--out", "nowhere"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_study_file_names_its_folder(name: str, tmp_path: Path) -> None:
    def said(path: Path) -> str:
        return refused(name, path, *READERS[name])

    file = tmp_path / "night.yaml"
    file.write_text(TEXT)
    text = f"{file}: must be a study's folder, but is a file"
    meant = f"; did you mean the folder of that study, {tmp_path / 'runs' / 'night'}?"
    assert said(file) == text + meant
    file.write_text(f"{TEXT}out: here\n")
    assert said(file) == text + f"; did you mean the folder of that study, {tmp_path / 'here'}?"
    file.write_text("merge_method: linear\n")
    assert said(file) == f"{text}."
    file.write_bytes(b"\x00\xff")
    assert said(file) == f"{text}."
    assert said(tmp_path / "runs") == f"{tmp_path / 'runs'}: there is no such folder."
    (tmp_path / "runs").mkdir()
    hint = f"{tmp_path / 'run'}: there is no such folder, did you mean 'runs'?"
    assert said(tmp_path / "run") == hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["night.yaml", "runs"]


@pytest.mark.parametrize(
    "command", [("run",), ("validate",), ("baselines",), ("statistics",), ("eval", "x", "--study")]
)
def test_a_folder_names_its_study_file(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/night")
    folder.mkdir(parents=True)
    text = "runs/night: must be a study file, but is a folder"
    assert refused(*command, folder) == f"{text}."
    Path("night.yaml").write_text(TEXT)
    Path("recipe.yaml").write_text("merge_method: linear\n")
    assert refused(*command, ".") == (
        ".: must be a study file, but is a folder; did you mean night.yaml?"
    )
    (folder / "about.json").write_text('{"file": "../../night.yaml"}')
    assert refused(*command, folder) == f"{text}; did you mean night.yaml?"


def test_a_recipe_is_no_folder(tmp_path: Path) -> None:
    said = refused("merge", tmp_path, "--out", tmp_path / "out")
    assert said == f"{tmp_path}: must be a file, but is a folder."


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("methods", "foo"), "unknown merge method 'foo'. Known: arcee_fusion, "),
        (("methods", "tise"), "unknown merge method 'tise', did you mean 'ties'? Known: "),
        (("objectives", "foo"), "there is no preset 'foo'; known are "),
        (("objectives", "refcocoo"), "there is no preset 'refcocoo', did you mean 'refcoco"),
        (("align", "nothere", "x"), "'nothere' is neither a folder (relative to here) nor a hub"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_names_that_are_not_known(command: tuple[str, ...], said: str) -> None:
    found = CliRunner().invoke(cli.app, command).exception
    assert str(found).startswith(said)
    assert "\n" not in str(found)


def test_a_model_of_the_command_line_is_relative_to_where_one_stands(
    small_study: Callable[..., Path],
) -> None:
    said = refused("eval", "nothere", "--study", small_study("preference", out="unheld"))
    text = (
        "'nothere' is neither a folder (relative to here) nor a hub id like owner/name@revision."
    )
    assert said == text
