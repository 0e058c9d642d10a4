"""Paths that the file system refuses: one line; a fault of the program keeps its traceback."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from studies import cli
from studies.path_errors import persons_mistake
from tests.tracked import ledger_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a study, a file and a folder."""
    monkeypatch.chdir(tmp_path)
    ledger_of(tmp_path / "study", 2)
    (tmp_path / "study" / "recipe.yaml").write_text("merge_method: linear\n")
    (tmp_path / "file.yaml").write_text("precious")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("report study --out folder", "folder is a folder; take folder/report.html"),
        ("report study --out /proc/x.html", "/proc/x.html: it is not there and cannot be made"),
        ("report study --out=/proc/x.html", "/proc/x.html: it is not there and cannot be made"),
        ("report study --out file.yaml/x.html", "file.yaml: it is a file, but must be a folder."),
        ("init file.yaml/foo.yaml", "file.yaml: it is a file, but must be a folder."),
        ("init /proc/foo.yaml", "/proc/foo.yaml: it is not there and cannot be made"),
        ("init {0}", "the name is too long."),
        ("export study --out file.yaml/foo", "file.yaml/foo must be a folder, but"),
        ("export study --out file.yaml", "file.yaml must be a folder, but is a file"),
        ("zoo build --out file.yaml", "file.yaml: it is a file, but must be a folder."),
        ("zoo build --out file.yaml/zoo", "file.yaml: it is a file, but must be a folder."),
        ("demo --out file.yaml", "file.yaml: it is a file, but must be a folder."),
    ],
)
def test_a_path_that_cannot_be_written_is_one_line(
    here: Path,
    command: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = sorted(p.name for p in here.rglob("*"))
    monkeypatch.setattr("sys.argv", ["mergetuna", *command.format("x" * 300).split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    printed, errors = capfd.readouterr()
    assert said in errors
    assert errors.count("\n") == 1
    assert "Errno" not in errors
    assert printed == ""
    assert sorted(p.name for p in here.rglob("*")) == before
    assert (here / "file.yaml").read_text() == "precious"


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file", "/nowhere/the/program/looked"),
        FileNotFoundError(errno.ENOENT, "no such file", "runs/another"),
        FileNotFoundError(errno.ENOENT, "no such file", str(Path(cli.__file__).parent / "gone")),
        PermissionError(errno.EACCES, "denied", str(Path(cli.__file__).parent / "table.py")),
        FileExistsError(errno.EEXIST, "exists", str(Path(__file__).parent)),
        OSError("without a path"),
        OSError(errno.EIO, "input/output error", "/data/x"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        BrokenPipeError(errno.EBADF, "bad file descriptor"),
    ],
    ids=repr,
)
def test_a_fault_of_the_program_keeps_its_traceback(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["mergetuna", "status", "runs/night"])
    monkeypatch.setattr(cli, "app", failing(error))
    with pytest.raises(type(error)) as caught:
        cli.main()
    assert caught.value is error


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "/elsewhere/of/the/study: there is no permission."),
        (errno.EROFS, "/elsewhere/of/the/study: its disk can only be read."),
        (errno.ENOSPC, "/elsewhere/of/the/study: there is no room on the disk."),
    ],
)
def test_what_a_study_file_names_need_not_be_on_the_command_line(number: int, said: str) -> None:
    error = OSError(number, "as the system says it", "/elsewhere/of/the/study")
    assert persons_mistake(error, ["study.yaml"]) == said


def test_a_temporary_file_is_called_by_the_name_that_it_would_have_had() -> None:
    error = PermissionError(errno.EACCES, "denied", "/data/.study.yaml.k3j2")
    assert persons_mistake(error, ["/data/study.yaml"]) == (
        "/data/study.yaml: there is no permission."
    )
