"""How a run speaks: nothing with --quiet, events with --json-log."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from studies import cli
from studies.console import warn
from studies.interruption import Stopped
from studies.run_events import told
from studies.voice import draws, event, speaking

MakeStudy = Callable[..., Path]


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_log_tells_every_trial_and_the_end_and_quiet_tells_nothing(
    small_study: MakeStudy, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(small_study("preference", out="spoken", trials=4))
    cli.app(["run", path, "--json-log"], standalone_mode=False)
    said, errors = capfd.readouterr()
    found = events(said)
    assert errors == ""
    assert [found[0]["event"], found[-1]["event"]] == ["start", "end"]
    assert found[0]["study"] == "spoken"
    assert all(one["time"].endswith("+00:00") for one in found)
    trials = [one for one in found if one["event"] == "trial"]
    assert [(t["search"], t["trial"]) for t in trials] == [
        (name, i) for name in ("search", "global") for i in range(4)
    ]
    assert {"value", "state", "source", "seconds", "finished", "budget"} <= trials[0].keys()
    best = [one for one in found if one["event"] == "best" and one["search"] == "search"]
    values = [one["value"] for one in best]
    assert values == sorted(values)
    assert values[-1] == max(t["value"] for t in trials[:4])
    assert any("memory on cpu" in one["text"] for one in found if one["event"] == "note")
    assert Path(found[-1]["recipe"]).is_file()
    assert set(found[-1]["test"]) >= {"value", "low", "high"}
    cli.app(["run", path, "--quiet"], standalone_mode=False)
    assert capfd.readouterr() == ("", "")


def test_a_mistake_is_an_event_too_and_always_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for option, printed in (("--json-log", ["error"]), ("--quiet", [])):
        monkeypatch.setattr("sys.argv", ["mergetuna", "run", str(tmp_path / "no.yaml"), option])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        said, errors = capfd.readouterr()
        assert [one["event"] for one in events(said)] == printed
        assert "no.yaml" in errors


def test_what_nobody_foresaw_is_an_event_too(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> None:
        with told("json"):
            raise error

    refused = PermissionError(errno.EACCES, "Permission denied", "/elsewhere/out")
    for error, text in (
        (refused, "/elsewhere/out: there is no permission."),
        (ZeroDivisionError("by nothing"), "ZeroDivisionError: by nothing"),
    ):
        with pytest.raises(type(error)):
            fail(error)
        (one,) = events(capfd.readouterr().out)
        assert (one["event"], one["text"]) == ("error", text)


def test_quiet_and_json_log_exclude_each_other(small_study: MakeStudy) -> None:
    path = str(small_study("preference", out="both"))
    for command in (["run", path], ["demo"]):
        said = CliRunner().invoke(cli.app, [*command, "--quiet", "--json-log"])
        assert isinstance(said.exception, UserError)
        assert "choose one" in str(said.exception)


def test_the_voice_comes_back_after_the_block(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with told("json"):
            warn("inside")
            raise UserError("wrong")

    with pytest.raises(UserError):
        fail()
    warn("outside")
    event("note", {"text": "unheard"})
    said, errors = capfd.readouterr()
    assert [(e["event"], e["text"]) for e in events(said)] == [
        ("note", "inside"),
        ("error", "wrong"),
    ]
    assert errors == "outside\n"


def test_nothing_is_drawn_for_those_who_do_not_read_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert draws()
    for voice in ("quiet", "json"):
        with speaking(voice):
            assert not draws()


@pytest.mark.parametrize(
    ("options", "events_told", "said"),
    [
        ([], [], "Stopped. No scored trial is lost; to go on from here: "),
        (["--quiet"], [], ""),
        (["--json-log"], ["start", "stopped"], ""),
    ],
)
def test_a_stop_is_told_as_was_asked(
    small_study: MakeStudy,
    options: list[str],
    events_told: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stopped(2)

    monkeypatch.setattr("studies.run.run_study", stop)
    path = small_study("preference", out="to-stop")
    monkeypatch.setattr("sys.argv", ["mergetuna", "run", str(path), *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    printed, errors = capfd.readouterr()
    assert [one["event"] for one in events(printed)] == events_told
    assert errors.startswith(said)
    assert bool(errors) == bool(said)
