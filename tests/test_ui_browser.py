"""`mergetuna ui` in a real browser: the page lists every trial by name, with its score."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from objectives.records import ExampleScore, ScoreSet
from search.dimension import Dimension
from studies.ledger import SEARCH, Ledger, Outcome
from studies.tracking import Mirror, Summary, tracking_uri

pytestmark = pytest.mark.browser

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1900,1600",  # the page holds only the rows and columns in sight
    "--virtual-time-budget=30000",
)
PATIENCE_S = 90.0
SCORES = (0.25, 0.75, None, 0.5)
COMMAND = "import studies.cli as c; c.main()"
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"}


class Grid(HTMLParser):
    """The cells of a page's grid, by row and column; a row comes in pieces, one per pane."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, str]] = {}
        self._open: list[tuple[str, bool]] = []
        self._row = self._column = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        named = {key: value or "" for key, value in attrs}
        role = named.get("role")
        if role == "row":
            self._row = named.get("row-id", "")
        if role == "gridcell":
            self._column = named.get("col-id", "")
            self.rows.setdefault(self._row, {})[self._column] = ""
        self._open.append((tag, role == "gridcell"))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            name, is_cell = self._open.pop()
            if is_cell:
                self._column = ""
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        if self._column and self._open[-1][0] != "style":
            self.rows[self._row][self._column] += data


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder whose trials are mirrored to the store beside it."""
    folder = tmp_path_factory.mktemp("runs") / "shown"
    folder.mkdir()
    ledger = Ledger(folder, SEARCH, [Dimension("weight", 0.0, 9.0, 0.0)])
    for number, score in enumerate(SCORES):
        scores = ScoreSet("vqa", "micro", 1.0, (ExampleScore("0", score or 0.0, "colours"),))
        sets = () if score is None else (scores,)
        point = {"weight": float(number)}
        ledger.tell(Outcome(point, "d", "warm start", sets, score, "why", {"score": 1.0}))
    summary = Summary("method: linear\n", "", {"test.vqa": 0.5})
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        uri = tracking_uri(None, folder.parent)
    mirror = Mirror(uri, "shown", lambda: ledger.trials, {})
    mirror.start()
    status = mirror.finish(120.0, summary)
    assert status.complete, status
    return folder


@contextmanager
def served(study: Path) -> Iterator[str]:
    """What the command prints once the server answers; it is ended as by Ctrl-C.

    A shell's background jobs inherit that SIGINT is ignored; a terminal's programs do not.
    """
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "ui", str(study), "--port", "0", "--no-open"],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as command:
        assert command.stdout is not None
        printed = ""
        while "Ctrl-C" not in printed and (line := command.stdout.readline()):
            printed += line
        try:
            yield printed
        finally:
            command.send_signal(signal.SIGINT)
            rest = command.stdout.read()
    assert (command.returncode, rest) == (0, ""), printed + rest
    port = int(address(printed, "trials").partition("/#")[0].rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.fixture(scope="module")
def printed(study: Path) -> Iterator[str]:
    """What the command has printed; it serves as long as the tests of this file run."""
    with served(study) as text:
        yield text


def address(printed: str, what: str) -> str:
    found = re.search(rf"{what}: (http://127\.0\.0\.1:\d+/#/\S+)", printed)
    assert found, printed
    return found[1]


def browsed(browser: str, page: str, profile: Path, *options: str) -> str:
    own = [*OPTIONS, f"--user-data-dir={profile}", *options]
    done = subprocess.run([browser, *own, page], capture_output=True, timeout=PATIENCE_S)
    return done.stdout.decode(errors="replace")


def shown_by(browser: str, page: str, profile: Path) -> dict[str, str]:
    """Score by run name, in the order of the page."""
    grid = Grid()
    grid.feed(browsed(browser, page, profile, "--dump-dom"))
    name, score = "attributes.`Run Name`", "metrics.`score`"
    rows = [row for row in grid.rows.values() if name in row]
    return {re.sub("#[0-9a-f]{6}", "", r[name]).strip(): r.get(score, "?") for r in rows}


def test_the_page_lists_every_trial_with_its_score(
    browser: str, printed: str, tmp_path: Path
) -> None:
    expected = {
        **{f"trial-{n:04d}": "-" if s is None else str(s) for n, s in enumerate(SCORES)},
        "summary": "-",
    }
    shown: dict[str, str] = {}
    deadline, attempt = time.monotonic() + PATIENCE_S, 0
    while shown != expected and time.monotonic() < deadline:
        attempt += 1
        shown = shown_by(browser, address(printed, "trials"), tmp_path / f"profile{attempt}")
    assert shown == expected
    assert list(shown)[:3] == ["trial-0001", "trial-0003", "trial-0000"], "not the best first"


def test_the_charts_show_the_score_first(browser: str, printed: str, tmp_path: Path) -> None:
    """In one section, for those with a name would stand before all charts without."""
    expected = ["score", "score.vqa", "seconds.score", "slice.vqa.colours"]
    page, titles, attempt = address(printed, "charts"), list[str](), 0
    deadline = time.monotonic() + PATIENCE_S
    while titles[: len(expected)] != expected and time.monotonic() < deadline:
        attempt += 1
        text = browsed(browser, page, tmp_path / f"profile{attempt}", "--dump-dom")
        titles = re.findall(r'<h4 [^>]*title="([^"]+)"', text)
    assert titles[: len(expected)] == expected
    assert set(titles[len(expected) :]) <= {"spent.items", "test", "test.vqa"}
    picture = tmp_path / "charts.png"
    browsed(browser, page, tmp_path / "last", f"--screenshot={picture}")
    with Image.open(picture) as image:
        assert image.size == (1900, 1600)
        bars = image.convert("RGB").crop((600, 400, 1900, 900)).getcolors(10**6)
    assert bars is not None
    vivid = [n for n, c in bars if isinstance(c, tuple) and max(c) - min(c) > 80]
    assert sum(vivid) > 5000, "no bar is drawn"
