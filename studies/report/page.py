"""The page of a report: one HTML file that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from merge_ops.atomic import write_text
from search.feasibility import value_of
from search.front import is_front
from studies.front_words import front_so_far
from studies.report import result_sections as result
from studies.report import search_sections as search
from studies.report.charts import percent
from studies.report.drawing import Chart, write_png
from studies.report.facts import Facts, read_facts
from studies.report.front_charts import front_table
from studies.report.importance import importance
from studies.report.markup import bullets, charts, paragraph, section
from studies.report.place import SIGNATURE, ReportFiles, own_place
from studies.report.style import STYLE
from studies.shrunken import shrunken
from studies.trial_facts import standing_of


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a report.

    Attributes:
        page: the HTML file.
        pictures: the charts as PNG, in the order of the page.
    """

    page: Path
    pictures: Sequence[Path]


def write_report(folder: Path, place: ReportFiles | None = None) -> Written:
    """Write the report of a study's folder, whether it has ended or not.

    Args:
        folder: the study's.
        place: of page and pictures; by default `report.html` and `figures/report` in the folder.

    Raises:
        UserError: the folder is no study's, or cannot be read.
    """
    place = place or own_place(folder)
    text, drawn = report_page(read_facts(folder))
    pictures = [write_png(chart, place.charts) for chart in drawn]
    write_text(place.page, text)
    return Written(place.page, pictures)


def report_page(facts: Facts) -> tuple[str, list[Chart]]:
    """The HTML text, and its charts."""
    found = importance(facts.trials)
    drawn = {
        "history": search.history_charts(facts),
        "depth": search.depth_charts(facts),
        "importance": search.importance_charts(facts, found),
        "front": search.front_charts(facts),
    }
    results = facts.results
    parts = [section("In short", bullets(_headlines(facts)))]
    if results is not None:
        parts += [
            section("What it came to", result.test_table(results["rows"])),
            section("By category, on the test split", result.category_tables(results["rows"])),
            section("What selection overstated", result.overstated(results)),
        ]
    words = search.importance_words(facts, found)
    parts += [
        section("The search", _charts(drawn["history"]), search.racing_words(facts)),
        section("The best trials", search.top_trials(facts)),
        section("Coefficients over depth", _charts(drawn["depth"])),
        section("What decided the score", words, _charts(drawn["importance"])),
        section("Choices", search.choices_table(facts)),
        section("Objectives against each other", _charts(drawn["front"]), front_table(results)),
        section("Failures", search.failures(facts.status.failures())),
        section("Where the time went", search.costs(facts)),
        section("Build it again", result.rebuild(facts)),
    ]
    return _page(facts, "".join(parts)), [chart for some in drawn.values() for chart in some]


def _charts(several: Sequence[Chart]) -> str:
    return charts(several) if several else ""


def _headlines(facts: Facts) -> list[str]:
    """The study in sentences; those of its table where it has ended."""
    status, results = facts.status, facts.results
    if results is not None:
        from studies.table import verdicts

        return verdicts(results)
    lines = []
    if status.best is not None:
        value = value_of(status.best) or 0.0
        known = status.best_interval
        limits = "" if known is None else f" [{percent(known.low)}, {percent(known.high)}]"
        lines.append(
            f"Best so far: trial {status.best.number} with {percent(value)}{limits} % on the "
            f"selection split, chosen among many and so too high by luck{_believed(facts)}; the "
            "winner will be chosen on the confirm split."
        )
        if is_front(facts.trials):
            lines.insert(0, f"So far: {front_so_far(facts.trials)}, on the selection split.")
        if standing := standing_of(status.best):
            lines.append(f"The best trial's guards: {standing}.")
    lines.append(f"The test split has been read {status.test_reads} times.")
    return lines


def _believed(facts: Facts) -> str:
    """What is believed of the best trial's score."""
    known, best = shrunken(facts.status.about, facts.trials), facts.status.best
    if best is None or best.number not in known:
        return ""
    return f" (shrunken: {percent(known[best.number])} %)"


def _state(facts: Facts) -> str:
    """A warning where the study has not ended, or has gone on since."""
    status, results = facts.status, facts.results
    count = len(facts.trials)
    budget = status.about.get("trials")
    of = f"{count} of {budget} trials" if budget else f"{count} trials"
    if results is None:
        how = {"running": "is running", "not begun": "has not begun"}.get(
            status.state, "was stopped before its end"
        )
        return f"Unfinished: the study {how}, {of}. Nothing is confirmed yet."
    if results["trials"] != count:
        return (
            f"The results are of an earlier end, after {results['trials']} trials; the study has "
            f"gone on since ({of})."
        )
    return ""


def _page(facts: Facts, body: str) -> str:
    about, state = facts.status.about, _state(facts)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    method = about.get("method", "")
    facts_line = ", ".join(
        filter(
            None,
            (
                f"method {method}" if method else "",
                f"experts {' and '.join(facts.owners)}" if facts.owners else "",
                f"sampler {(facts.results or about).get('sampler', '')}".strip(),
                f"{len(facts.trials)} trials",
            ),
        )
    )
    title = escape(facts.title)
    warning = paragraph(state, "state") if state else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}: report</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{title}</h1><p>{escape(facts_line)}</p>{warning}</header>"
        f"<main>{body}</main><footer><p>{SIGNATURE}, {now}, from the study's folder "
        "alone. Scores are per cent, intervals are at 95 %.</p></footer></body></html>\n"
    )
