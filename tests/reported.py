"""Reports to look at: their text, tables and charts, and ledgers of any size to make them from."""

import json
import random
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from objectives.records import ExampleScore, ScoreSet
from search.dimension import Dimension
from search.racing import STOPPED
from studies.ledger import JOURNAL, SEARCH, Ledger, Outcome
from studies.trial_facts import ITEMS

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"}
_ADDRESSES = ("src", "href", "xlink:href", "action", "data", "poster")


class Page(HTMLParser):
    """What a report holds; a tag that is not closed in its order is an error.

    Attributes:
        sections: text by title.
        tables: rows of cells, by the title of their section.
        charts: what charts are labelled with.
        links: every address outside the page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.charts: list[str] = []
        self.details = 0
        self.links: list[str] = []
        self._open: list[str] = []
        self._title = ""
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attrs}
        known = [named[key] for key in _ADDRESSES if key in named]
        self.links += [value for value in known if not value.startswith(("#", "data:"))]
        if named.get("role") == "img":
            self.charts.append(named.get("aria-label", ""))
        self.details += tag == "details"
        if tag == "h2":
            self._title = ""
        self._enter(tag)
        if tag not in VOID:
            self._open.append(tag)

    def _enter(self, tag: str) -> None:
        if tag == "table":
            self.tables.setdefault(self._title, []).append([])
        if tag == "tr":
            self.tables[self._title][-1].append([])
        if tag in {"td", "th"}:
            self.tables[self._title][-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "h2" in self._open:
            self._title += data
            return
        if {"td", "th"} & set(self._open):
            joined = "\n" if self._open[-1] == "small" else ""
            self.tables[self._title][-1][-1][-1] += joined + data
        self.sections[self._title] = self.sections.get(self._title, "") + data


def big_ledger(
    folder: Path, trials: int, *, items: int = 200, dimensions: int = 32, flat: bool = False
) -> None:
    """A journal of two objectives; one coordinate decides the first, unless all scores are one.

    Every tenth trial fails, every seventh was stopped after a quarter of its examples.
    """
    names = [f"weight.{one}.{i}" for one in ("math", "chart") for i in range(dimensions // 2)]
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder, SEARCH, [Dimension(name, 0.0, 1.5, 0.0) for name in names])
    draw = random.Random(0)
    example = tuple(ExampleScore(str(i), 0.5, f"kind {i % 4}") for i in range(items))
    sets = [ScoreSet(name, "micro", 1.0, example) for name in ("vqa", "charts")]
    seconds = {"suggest": 0.01, "build": 0.5, "score": 2.0}
    ledger.tell(Outcome(dict.fromkeys(names, 0.7), "d", "warm start", sets, 0.5, "", seconds))
    path = folder / JOURNAL
    entry = json.loads(path.read_text().splitlines()[-1])
    known = entry["user_attrs"]
    with path.open("a") as stream:
        for number in range(1, trials):
            point = {name: draw.random() * 1.5 for name in names}
            share = 0.5 if flat else 0.2 + 0.4 * point[names[3]]
            own = {"digest": f"d{number}", "source": "tpe", "seconds": seconds}
            if number % 10 == 0:
                entry |= {"state": 3, "value": None}
                own |= {"reason": "<b>not finite</b> & more"}
            else:
                scores = {
                    name: [float(flat or draw.random() < chance) for _ in range(items)]
                    for name, chance in (("vqa", share), ("charts", 1 - share))
                }
                part = {STOPPED: items // 2, ITEMS: items // 2}
                stopped: dict[str, Any] = part if number % 7 == 0 else {}
                figures = {name: sum(v) / items for name, v in scores.items()}
                value = 0.5 if flat else 0.8 * figures["vqa"] + 0.2 * figures["charts"]
                entry |= {"state": 1, "value": value}
                text = json.dumps(scores, separators=(",", ":"))
                own = {**known, **own, **stopped, "figures": figures, "scores": text}
            entry |= {"params": point, "user_attrs": own}
            stream.write(json.dumps(entry, separators=(",", ":")) + "\n")
