"""`mergetuna ui` in a real browser: the pages list and draw every trial of a demo study."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from search.feasibility import value_of
from studies.journal import read_trials
from studies.run import run_study
from studies.setup import read_study
from tests.browsing import PATIENCE_S, browsed

pytestmark = pytest.mark.browser

SIZE = 1900, 1600  # the page holds only the rows and columns in sight
TRIALS = 5
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
def study(small_study: Callable[..., Path]) -> Path:
    """The folder of a demo study that has ended, mirrored to the store beside it."""
    searched: dict[str, object] = {"warm_start": [], "compare": False}
    tracked = {"tracking": {"enabled": True}}
    file = small_study("reasoning", out="shown", trials=TRIALS, **searched, **tracked)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        checked = read_study(file)
        run_study(checked)
    return checked.out


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of MLflow's pages are left, to be looked at."""
    return tmp_path_factory.mktemp("pictures-of-mlflow")


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


def vivid(picture: Path) -> int:
    """Pixels in a strong colour below the page's own bars and buttons."""
    with Image.open(picture) as image:
        assert image.size == SIZE
        colours = image.convert("RGB").crop((600, 400, *SIZE)).getcolors(10**7)
    assert colours is not None
    return sum(n for n, c in colours if isinstance(c, tuple) and max(c) - min(c) > 80)


def shown_in(page: str) -> dict[str, str]:
    """Score by run name, in the order of the page."""
    grid = Grid()
    grid.feed(page)
    name, score = "attributes.`Run Name`", "metrics.`score`"
    rows = [row for row in grid.rows.values() if name in row]
    return {re.sub("#[0-9a-f]{6}", "", r[name]).strip(): r.get(score, "?") for r in rows}


def looked_at(
    browser: str, page: str, picture: Path, profiles: Path, seen: Callable[[str], bool]
) -> str:
    """The page's document and its picture, as soon as what is waited for is in both."""
    text, attempt, deadline = "", 0, time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        attempt += 1
        text = browsed(browser, page, profiles / f"profile{attempt}", SIZE, picture)
        if seen(text):
            break
    return text


def test_the_page_lists_every_trial_with_its_score(
    browser: str, printed: str, study: Path, pictures: Path, tmp_path: Path
) -> None:
    scores = {f"trial-{t.number:04d}": value_of(t) for t in read_trials(study)}
    assert len(scores) == TRIALS
    names = {*scores, "summary"}
    text = looked_at(
        browser,
        address(printed, "trials"),
        pictures / "mlflow-runs.png",
        tmp_path,
        lambda page: shown_in(page).keys() == names,
    )
    shown = shown_in(text)
    assert shown.keys() == names
    assert shown.pop("summary") == "-"
    assert {k: float(v) for k, v in shown.items()} == pytest.approx(scores, abs=0.001)
    ordered = [float(v) for v in shown.values()]
    assert ordered == sorted(ordered, reverse=True), "not the best first"


def test_the_charts_show_the_score_first(
    browser: str, printed: str, pictures: Path, tmp_path: Path
) -> None:
    """In one section, for those with a name would stand before all charts without."""
    picture = pictures / "mlflow-charts.png"

    def titles(page: str) -> list[str]:
        return re.findall(r'<h4 [^>]*title="([^"]+)"', page)

    expected = ["score", "score.perception", "score.reasoning"]
    text = looked_at(
        browser,
        address(printed, "charts"),
        picture,
        tmp_path,
        lambda page: titles(page)[:3] == expected and vivid(picture) > 5000,
    )
    assert titles(text)[:3] == expected
    assert vivid(picture) > 5000, "no bar is drawn"
