"""The live view: what it says at any width, what it costs, and that it leaves terminals clean."""

import io
import json
import logging
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, create_trial
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from objectives.statistics import Interval
from search.racing import STOPPED
from studies import cli
from studies.budget import Limits
from studies.console import warn
from studies.interruption import Interruption, Stopped
from studies.ledger import SEARCH, read_trials
from studies.live_view import LiveFacts, view
from studies.painter import Painter
from studies.progress import Progress
from studies.racing import saved
from studies.sparkline import columns_of, sparkline
from studies.status import best_of, read_status
from studies.tally import Tally
from tests.reported import big_ledger
from tests.terminal import terminal

ITEMS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of sixty trials, with failed and stopped ones."""
    folder = tmp_path_factory.mktemp("night")
    big_ledger(folder, 60, items=ITEMS)
    own = {"average": "micro", "categories": [f"kind {i % 4}" for i in range(ITEMS)]}
    objectives = {"vqa": {**own, "weight": 0.8}, "charts": {**own, "weight": 0.2}}
    about = {"study": "night", "trials": 100, "timeout_s": None, "objectives": objectives}
    (folder / "about.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def trials(folder: Path) -> list[FrozenTrial]:
    return list(read_trials(folder, SEARCH))


def progress(folder: Path, done: Sequence[FrozenTrial], limits: Limits | None = None) -> Progress:
    about = json.loads((folder / "about.json").read_text())
    return Progress(SEARCH, "night, search", done, limits or Limits(100), about)


def drawn(
    facts: LiveFacts, width: int, *, height: int = 24, ascii_only: bool = False
) -> list[str]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii" if ascii_only else "utf-8")
    console = Console(file=stream, width=width, height=height, force_terminal=True)
    console.print(view(facts, width, height, ascii_only=ascii_only))
    stream.flush()
    lines = raw.getvalue().decode().splitlines()
    return [Text.from_ansi(line).plain.rstrip() for line in lines]


def shown(own: Progress, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, height=24, force_terminal=True)
    console.print(own._view(console))
    return Text.from_ansi(console.file.getvalue()).plain  # type: ignore[attr-defined]


def facts(trials: Sequence[FrozenTrial], **changes: Any) -> LiveFacts:
    known: dict[str, Any] = {
        "title": "a study of a rather long name, search (128 dimensions, cma)",
        "scores": [t.value for t in trials],
        "budget": 120,
        "best": best_of(trials),
        "interval": Interval(0.6, 0.512, 0.689),
        "shrunken": 0.587,
        "last": trials,
        "per_hour": 1234.5,
        "gone_s": 3723.0,
        "left_s": 3599.0,
        "stopped": 8,
        "saved": 0.314,
        "memory": "34.5 of 79.2 GB on cuda:0, 12.3 GB of main memory for this process",
    }
    return LiveFacts(**{**known, **changes})


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_view_fits_and_says_all(
    trials: Sequence[FrozenTrial], width: int, ascii_only: bool
) -> None:
    lines = drawn(facts(trials), width, ascii_only=ascii_only)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24
    text = " ".join(" ".join(lines).split())
    best = best_of(trials)
    assert best is not None
    assert best.value is not None
    for part in (
        "a study of a rather long name",
        "trials 60 of 120, 5 failed, 1,234 an hour",
        "1:02:03 gone, 0:59:59 left (h:m:s)",
        f"best {100 * best.value:.1f} [51.2, 68.9] on selection, trial {best.number};",
        "58.7 when shrunken",
        "8 trials stopped early, 31 % of examples saved",
        "34.5 of 79.2 GB on cuda:0",
        "59 ",
        "stopped by racing after",
    ):
        assert part in text, part
    assert ascii_only == "\n".join(lines).isascii()


def test_a_low_terminal_shows_fewer_trials(trials: Sequence[FrozenTrial]) -> None:
    known = facts(trials)
    assert len(drawn(known, 120, height=40)) - len(drawn(known, 120, height=12)) == 5
    assert len(drawn(known, 60, height=12)) <= 12


def test_a_view_before_the_first_trial_and_of_failures_alone() -> None:
    lines = drawn(LiveFacts("new", []), 60)
    assert lines == [
        "new",
        "trials   0",
        "time     0:00:00 gone, time left unknown (h:m:s)",
        "best     none yet",
    ]
    assert "none yet" in " ".join(drawn(LiveFacts("bad", [None, None], left_s=5.0), 60))


def test_why_a_trial_failed_and_what_looks_like_markup_stand_in_one_line(
    trials: Sequence[FrozenTrial],
) -> None:
    failed = next(t for t in trials if t.value is None)
    lines = drawn(facts(trials, last=[failed], title="[red]x[/red] :m:"), 60)
    assert lines[0] == "[red]x[/red] :m:"
    assert lines[-1].split()[:6] == ["last", str(failed.number), "failed", "tpe", "2.5", "s"]
    assert "<b>not finite</b>" in lines[-1]


def test_a_front_is_told_beside_the_best(folder: Path) -> None:
    several = [
        create_trial(values=values, user_attrs={"source": "nsga2"})
        for values in ([0.2, 0.9], [0.5, 0.5], [0.1, 0.1])
    ]
    text = " ".join(shown(progress(folder, several), 60).split())
    assert "front front of 2, hypervolume 0.330" in text
    assert "best 55.0 on selection, trial" in text
    assert "10.0 10.0 nsga2" in text


def test_a_sparkline_goes_from_the_lowest_to_the_highest() -> None:
    assert sparkline([0.0, 0.5, None, 1.0]) == "▁▅ █"
    assert sparkline([0.0, 0.5, None, 1.0], ascii_only=True) == ".+ @"
    assert sparkline([0.3, 0.3]) == "▅▅"
    assert sparkline([]) == ""


def test_many_trials_share_a_column_and_the_best_of_them_shows() -> None:
    assert columns_of([0.1, 0.9, None, 0.2, None, None], 3) == [0.9, 0.2, None]
    assert columns_of([0.1], 50) == [0.1]
    assert len(columns_of([0.5] * 10_000, 44)) == 44


def test_what_is_counted_trial_by_trial_is_what_others_count(
    trials: Sequence[FrozenTrial],
) -> None:
    for count in (0, 1, 20, len(trials)):
        tally = Tally(2 * ITEMS)
        tally.add(trials[:count])
        assert tally.best is best_of(trials[:count])
        own = saved(trials[:count])
        assert tally.stopped == own["stopped"]
        assert (tally.raced, tally.offered) == (own["items_scored"], own["items"])
        assert tally.failed == sum(t.value is None for t in trials[:count])


def test_the_best_is_told_as_status_tells_it(folder: Path, trials: Sequence[FrozenTrial]) -> None:
    said = CliRunner().invoke(cli.app, ["status", str(folder)]).stdout
    known = read_status(folder)
    assert known.best is not None
    text = " ".join(shown(progress(folder, trials)).split())
    line = next(line for line in said.splitlines() if line.startswith("best"))
    figures, _, rest = line.removeprefix("best").strip().partition(" on the selection split")
    assert "[" in figures
    assert f"best {figures} on selection, trial {known.best.number}" in text
    assert (believed := rest[rest.index("(") : rest.index(")") + 1]).endswith("when shrunken)")
    assert believed in text


def test_the_time_left_is_that_of_the_limit_that_ends_first(
    folder: Path, trials: Sequence[FrozenTrial]
) -> None:
    now = time.monotonic()

    def left(limits: Limits, done: int = 60) -> float | None:
        return progress(folder, trials[:done], limits)._left()

    assert left(Limits(None, target=0.9)) is None
    assert left(Limits(None, deadline=now + 3600)) == pytest.approx(3600, abs=60)
    assert left(Limits(100)) == pytest.approx(40 * 2.5, abs=0.1 * 100)  # failed ones took as long
    assert left(Limits(100), done=0) is None
    assert left(Limits(1000, deadline=now + 60)) == pytest.approx(60, abs=10)
    items = sum(t.user_attrs.get(STOPPED, 2 * ITEMS) for t in trials if t.value is not None)
    assert left(Limits(None, items=2 * items)) == pytest.approx(150, abs=15)
    assert left(Limits(50)) == 0


def test_lines_are_printed_whole_above_one_view(
    folder: Path, trials: Sequence[FrozenTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("a library that kept the stream")
    with terminal(monkeypatch) as seen:
        handler = logging.StreamHandler()
        logger.addHandler(handler)
        kept = sys.stderr
        with progress(folder, trials[:30]) as own:
            for trial in trials[30:]:
                own.on_trial(trial)
                warn(f"<note {trial.number} [bold]>")
                logger.warning("<log %s>", trial.number)
                time.sleep(0.02)
        assert sys.stderr is kept
        assert handler.stream is kept
        warn("<after>")
    logger.removeHandler(handler)
    lines = seen.screen()
    notes = [f"<{k} {n}{m}>" for n in range(30, 60) for k, m in (("note", " [bold]"), ("log", ""))]
    begun = lines.index("night, search")
    assert lines[:begun] == notes
    assert lines.count("night, search") == 1
    assert lines[begun + 1].startswith("trials   60 of 100, 5 failed")
    assert lines[-2:] == ["<after>", ""]
    assert seen.cursor()
    assert max(map(len, lines)) <= 80
    assert seen.text.count("night, search") > 1, "it was drawn but once"


def searched(own: Progress, how: str) -> None:
    """A search that is ended so in its trial."""
    with Interruption() as asked, own, asked.trial():
        time.sleep(0.3)
        if how == "error":
            raise ValueError
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("how", ["signal", "error"])
def test_the_terminal_is_left_clean_whatever_ends_the_search(
    folder: Path, trials: Sequence[FrozenTrial], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with terminal(monkeypatch, columns=60) as seen:
        kept, handlers = sys.stderr, [signal.getsignal(signal.SIGINT)]
        with pytest.raises((Stopped, ValueError)):
            searched(progress(folder, trials[:30]), how)
        assert sys.stderr is kept
        assert signal.getsignal(signal.SIGINT) == handlers[0]
        warn("<after>")
    lines = seen.screen()
    assert seen.cursor()
    assert lines.count("night, search") == 1
    assert lines[-2:] == ["<after>", ""]
    text = " ".join(lines)
    assert ("Once more to stop now." in text) == (how == "signal")


def test_no_colour_and_no_more_than_ascii_where_so_asked(
    folder: Path, trials: Sequence[FrozenTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch, encoding="ascii") as seen:
        monkeypatch.setenv("NO_COLOR", "1")
        with progress(folder, trials):
            pass
    assert seen.text.isascii()
    assert "\\u" not in seen.text
    codes = re.findall(r"\x1b\[([0-9;]*)m", seen.text)
    assert codes
    assert {code for one in codes for code in one.split(";")} <= {"0", "1", "2"}, "a colour"
    assert any("scores" in line and "@" in line for line in seen.screen())


def test_a_terminal_that_cannot_draw_gets_plain_lines(
    folder: Path, trials: Sequence[FrozenTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch) as seen:
        monkeypatch.setenv("TERM", "dumb")
        with progress(folder, trials[:40]) as own:
            for trial in trials[40:]:
                own.on_trial(trial)
    assert "\x1b" not in seen.text
    assert [line.split(":")[1].split()[0] for line in seen.screen() if line] == [
        "50/100",
        "60/100",
    ]


def test_standard_output_in_a_file_stays_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with terminal(monkeypatch) as seen, progress(folder, []):
        print("a result")  # noqa: T201
        sys.stdout.flush()
    assert capfd.readouterr().out == "a result\n"
    assert "a result" not in seen.text


def test_a_drawing_rests_two_hundred_times_as_long_as_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def slow(console: Console) -> Text:
        calls.append(console.width)
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        return Text("slow")

    with terminal(monkeypatch), Painter(slow):
        time.sleep(1.0)
    assert 1 <= len(calls) <= 2, "once, and at the end"


def test_a_view_that_cannot_be_drawn_does_not_end_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Console) -> Text:
        raise ZeroDivisionError

    with terminal(monkeypatch) as seen, Painter(broken):
        time.sleep(0.1)
        warn("<going on>")
    lines = [line for line in seen.screen() if line]
    assert lines == [
        "the live view cannot be drawn: ZeroDivisionError(); the study goes on without it",
        "<going on>",
    ]
    assert seen.cursor()
