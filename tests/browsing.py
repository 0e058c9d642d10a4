"""Pages in a headless Chromium: what a page holds once its scripts ran, and how it looks."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

PATIENCE_S = 90.0
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_FRAMES = """<!doctype html><body style="margin:0">{frames}
<script>
const around = (one) => one.getBoundingClientRect()
const slid = (wide) => {{
  wide.scrollLeft = 10000
  const first = wide.querySelector("tbody th"), own = around(first).left - around(wide).left
  wide.scrollLeft = 0
  return Math.abs(own)
}}
addEventListener("load", () => {{
  for (const frame of document.querySelectorAll("iframe")) {{
    const own = frame.contentDocument, root = own.documentElement
    const all = (names) => [...own.querySelectorAll(names)]
    const tables = all(".wide:has(> table)").filter((one) => around(one).width > 0)
    const heads = tables.flatMap((one) => [...one.querySelectorAll("thead th")])
    frame.setAttribute("data-found", JSON.stringify({{
      scrolled: root.scrollWidth,
      inner: frame.contentWindow.innerWidth,
      height: root.offsetHeight,
      charts: all(".chart svg").map((one) => around(one).height),
      wider: tables.filter((one) => one.scrollWidth > one.clientWidth).length,
      slid: Math.max(0, ...tables.map(slid)),
      ends: Object.fromEntries(heads.map((one) => [one.textContent, around(one).right])),
    }}))
  }}
}})
</script></body>"""
_FRAME = (
    '<iframe width="{width}" height="{height}" srcdoc="{page}" '
    'style="border:0;position:absolute;top:0;left:{left}px"></iframe>'
)


@dataclass(frozen=True, slots=True)
class Framed:
    """A page in a frame of a given width; all lengths are in CSS pixels.

    Attributes:
        scrolled: width of its content.
        inner: width of its window.
        height: of its content.
        charts: heights of its charts.
        wider: tables that are wider than the page, and scroll by themselves.
        slid: by how much a first column leaves its place when its table is scrolled to the end.
        ends: right ends of columns, by their titles.
    """

    scrolled: int
    inner: int
    height: int
    charts: Sequence[float]
    wider: int
    slid: float
    ends: Mapping[str, float]


def browsed(
    browser: str, address: str, profile: Path, size: tuple[int, int], picture: Path | None = None
) -> str:
    """The document of a page once its scripts ran; with a picture of the same moment.

    Args:
        browser: the command.
        address: of the page.
        profile: a folder for the browser's own files.
        size: of the window, in pixels.
        picture: a file to be written.
    """
    options = [*_OPTIONS, f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=30000"]
    options += [f"--user-data-dir={profile}", "--dump-dom"]
    options += [] if picture is None else [f"--screenshot={picture}"]
    done = subprocess.run([browser, *options, address], capture_output=True, timeout=PATIENCE_S)
    return done.stdout.decode(errors="replace")


def framed(
    browser: str,
    pages: Sequence[tuple[str, int]],
    folder: Path,
    size: tuple[int, int],
    picture: Path | None = None,
) -> list[Framed]:
    """Pages side by side, each in a frame of its width: no window is as narrow as a phone.

    Args:
        browser: the command.
        pages: text and width of each.
        folder: for the browser's files.
        size: of the window; frames beyond it are measured, but not in the picture.
        picture: a file to be written.
    """
    lefts = [sum(width for _, width in pages[:i]) for i in range(len(pages))]
    frames = [
        _FRAME.format(width=width, height=size[1], left=left, page=escape(page, quote=True))
        for (page, width), left in zip(pages, lefts, strict=True)
    ]
    frame = folder / "frames.html"
    frame.write_text(_FRAMES.format(frames="".join(frames)), encoding="utf-8")
    dom = browsed(browser, frame.as_uri(), folder / "profile", size, picture)
    found = re.findall(r'data-found="([^"]+)"', dom)
    assert len(found) == len(pages), dom[-500:]
    return [Framed(**json.loads(unescape(one))) for one in found]
