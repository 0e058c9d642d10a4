"""The report in a real browser: nothing is wider than the screen, on a phone, a desk or paper."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from studies.report.page import write_report
from studies.run import run_study
from studies.setup import read_study
from tests.browsing import Framed, framed
from tests.reported import big_ledger

pytestmark = pytest.mark.browser

PHONE, DESK, PAPER = 390, 1280, 718  # CSS pixels; A4 between Chromium's margins
HEIGHT = 9000
SHOWN = [(page, width) for page in ("real", "wide") for width in (PHONE, DESK, PAPER)]
PICTURES = {PHONE: "report-phone.png", DESK: "report-desk.png"}


@pytest.fixture(scope="module")
def pages(
    small_study: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Reports of a demo study that has ended, and of one of many layers that has not."""
    study = read_study(small_study("reasoning", out="pictured", trials=5))
    run_study(study)
    folder = tmp_path_factory.mktemp("wide")
    big_ledger(folder, 60, items=20, dimensions=64)
    folders = {"real": study.out, "wide": folder}
    return {name: write_report(own).page.read_text() for name, own in folders.items()}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the whole page of the demo's study are left, to be looked at."""
    return tmp_path_factory.mktemp("pictures-of-the-report")


@pytest.fixture(scope="module")
def shown(browser: str, pages: dict[str, str], pictures: Path) -> dict[tuple[str, int], Framed]:
    """All pages at all widths, from one window; the print style at the width of paper."""
    texts = [
        (pages[page].replace("@media print", "@media all" if width == PAPER else "@media print"))
        for page, width in SHOWN
    ]
    sized = [(text, width) for text, (_, width) in zip(texts, SHOWN, strict=True)]
    whole = pictures / "window.png"
    found = framed(browser, sized, pictures, (PHONE + DESK, HEIGHT), whole)
    by_name = dict(zip(SHOWN, found, strict=True))
    with Image.open(whole) as image:
        assert image.size == (PHONE + DESK, HEIGHT)
        for left, width in ((0, PHONE), (PHONE, DESK)):
            box = (left, 0, left + width, by_name["real", width].height)
            image.convert("RGB").crop(box).save(pictures / PICTURES[width])
    whole.unlink()
    return by_name


@pytest.mark.parametrize(("page", "width"), SHOWN)
def test_nothing_is_wider_than_the_screen_or_the_paper(
    pages: dict[str, str], shown: dict[tuple[str, int], Framed], page: str, width: int
) -> None:
    assert pages[page].count("@media print") == 1
    one = shown[page, width]
    assert one.scrolled <= one.inner == width
    assert len(one.charts) >= 5
    assert min(one.charts) > 80, "a chart has collapsed"


def test_on_a_phone_the_gain_is_in_sight_and_scrolled_figures_keep_their_names(
    shown: dict[tuple[str, int], Framed],
) -> None:
    one = shown["real", PHONE]
    for title in ("score [95 %]", "found minus this [95 %]", "overstated"):
        assert one.ends[title] <= PHONE, title
    assert one.wider >= 1, "no table scrolls: nothing is shown of those that do"
    assert one.slid < 1
    assert shown["real", DESK].wider == 0


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_picture_of_the_whole_report_is_taken(
    shown: dict[tuple[str, int], Framed], pictures: Path, width: int
) -> None:
    height = shown["real", width].height
    assert 2000 < height < HEIGHT, "the window is lower than the page"
    with Image.open(pictures / PICTURES[width]) as picture:
        assert picture.size == (width, height)
        for top in range(0, height - 1000, 1000):
            part = picture.crop((0, top, width, top + 1000)).convert("L")
            dark = sum(part.histogram()[:128])
            assert dark > 1000, f"nothing is drawn below {top}"
