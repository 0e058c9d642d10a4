"""A job of equal steps in a log: a line now and then, none for a job of seconds."""

import pytest

from studies.step_progress import StepProgress


def lines(pause: float, now: list[float], capfd: pytest.CaptureFixture[str]) -> list[str]:
    with StepProgress("night, test", "rows") as progress:
        for done in range(1, 31):
            now[0] += pause
            progress.step(done, 30)
    return capfd.readouterr().err.splitlines()


def test_a_log_gets_at_most_ten_lines_and_none_for_a_job_of_seconds(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    assert lines(0.1, now, capfd) == []
    said = lines(20.0, now, capfd)
    assert (len(said), said[0], said[-1]) == (
        10,
        "night, test: 3/30 rows",
        "night, test: 30/30 rows",
    )
