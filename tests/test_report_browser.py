"""The report in a real browser: nothing is wider than the screen, on a phone or a desk."""

import re
import subprocess
from html import escape
from pathlib import Path

import pytest

from studies.report.page import write_report
from tests.reported import big_ledger

pytestmark = pytest.mark.browser

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
    "--virtual-time-budget=10000",
)
FRAME = """<!doctype html><body style="margin:0">
<iframe width="{width}" height="5000" style="border:0" srcdoc="{page}"></iframe>
<script>
document.querySelector("iframe").onload = (event) => {{
  const own = event.target.contentDocument, root = own.documentElement
  const drawn = [...own.querySelectorAll(".chart svg")].map((one) => one.getBoundingClientRect())
  document.body.setAttribute("data-found", [
    root.scrollWidth, event.target.contentWindow.innerWidth,
    Math.min(...drawn.map((one) => one.height)).toFixed(), drawn.length,
  ].join(" "))
}}
</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of many layers and long names, so that something would be too wide."""
    folder = tmp_path_factory.mktemp("wide")
    big_ledger(folder, 60, items=20, dimensions=64)
    return write_report(folder).page.read_text()


def found_by(browser: str, page: str, width: int, folder: Path) -> list[int]:
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, page=escape(page, quote=True)))
    own = [*OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    line = [browser, *own, frame.as_uri()]
    dom = subprocess.run(line, capture_output=True, timeout=90).stdout.decode(errors="replace")
    found = re.search(r'data-found="([\d .-]+)"', dom)
    assert found, dom[-500:]
    return [int(part) for part in found[1].split()]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(
    browser: str, page: str, tmp_path: Path, width: int
) -> None:
    scrolled, inner, lowest, drawn = found_by(browser, page, width, tmp_path)
    assert inner == width
    assert scrolled <= inner
    assert drawn >= 5
    assert lowest > 80, "a chart has collapsed"


def test_nothing_is_wider_than_the_paper(browser: str, page: str, tmp_path: Path) -> None:
    """The print style, at the width of A4 between Chromium's margins."""
    assert page.count("@media print") == 1
    printed = page.replace("@media print", "@media all")
    scrolled, inner, lowest, drawn = found_by(browser, printed, 718, tmp_path)
    assert scrolled <= inner == 718
    assert drawn >= 5
    assert lowest > 80, "a chart has collapsed"
