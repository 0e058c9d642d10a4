"""The parts of a report that tell of the search: history, importance, depth, fronts, costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial

from search.feasibility import order, value_of
from search.front import is_front
from search.racing import STOPPED
from studies.journal import GLOBAL, SEARCH
from studies.report import charts
from studies.report.coordinates import over_depth, parse
from studies.report.drawing import Chart
from studies.report.facts import Facts
from studies.report.front_charts import front_charts as values_charts
from studies.report.front_charts import pair_chart, volume_chart
from studies.report.importance import Importance, grouped
from studies.report.markup import bullets, paragraph, table
from studies.shrunken import shrunken
from studies.trial_facts import examples_of, guards_of, scores_of, standing_of

_SLICES, _FRONTS = 4, 3
_TITLES = {SEARCH: "study's search", GLOBAL: "rival without depth"}


def history_charts(facts: Facts) -> list[Chart]:
    """Score over trials for each search, and the best over examples for all."""
    found = {
        _TITLES.get(name, name): trials
        for name, trials in facts.status.searches.items()
        if any(value_of(trial) is not None for trial in trials)
    }
    if is_front(facts.trials):
        return [volume_chart(found)]
    drawn = [
        charts.history(trials, title, f"history-{i}")
        for i, (title, trials) in enumerate(found.items())
    ]
    return [*drawn, charts.budget(found)] if found else []


def importance_charts(facts: Facts, found: Importance) -> list[Chart]:
    """Bars of the coordinates, and slices along those that stand out."""
    best = facts.status.best
    if not found.shares or best is None:
        return []
    names = (found.told() or list(found.shares))[:_SLICES]
    slices = [charts.slice_of(facts.trials, n, best, i) for i, n in enumerate(names)]
    return [charts.importances(found), *slices]


def importance_words(facts: Facts, found: Importance) -> str:
    """What the figures say of groups of coordinates, or why they say nothing."""
    if not facts.trials or not facts.trials[0].params:
        return ""
    if not found.shares:
        return paragraph(f"Importance cannot be told: {found.why_not}.")
    told = found.told()
    text = (
        f"{len(told)} of {len(found.shares)} coordinates stand out from what chance alone shows: "
        f"{', '.join(told)}."
        if told
        else "No coordinate stands out from what chance alone shows; slices are of the largest."
    )
    parts = {name: parse(name, facts.owners) for name in found.shares}
    groupings = {
        "knob and expert": {name: part.group() for name, part in parts.items()},
        "place over depth": {
            n: "whole depth" if p.place is None else f"place {p.place}" for n, p in parts.items()
        },
        "part of a layer": {name: part.module or "whole layer" for name, part in parts.items()},
    }
    tables = [
        table(
            (title, "share of importance %"),
            [(name, charts.percent(s)) for name, s in grouped(found.shares, groups).items()],
        )
        for title, groups in groupings.items()
        if len(set(groups.values())) > 1
    ]
    return paragraph(text) + "".join(tables)


def depth_charts(facts: Facts) -> list[Chart]:
    """Coefficients over depth: of the found recipe by layer, or of the best trial by place."""
    best = facts.status.best
    found = (facts.results or {}).get("coefficients")
    what, whose = "layer", "the found recipe"
    if found is None:
        if best is None:
            return []
        found, what = over_depth(best.params, facts.owners), "place"
        whose = f"the best trial so far, {best.number}, as it was proposed"
    return [
        charts.depth(knob, rows, _ends(facts.trials, knob), what, whose)
        for knob, rows in found.items()
        if rows
    ]


def _ends(trials: Sequence[FrozenTrial], knob: str) -> tuple[float, float]:
    """The interval in which a knob was searched."""
    spans = [
        (kind.low, kind.high)
        for name, kind in (trials[0].distributions if trials else {}).items()
        if parse(name).knob == knob and isinstance(kind, FloatDistribution)
    ]
    lows, highs = [low for low, _ in spans], [high for _, high in spans]
    return (min(lows), max(highs)) if spans else (float("inf"), float("-inf"))


def front_charts(facts: Facts) -> list[Chart]:
    """Each two objectives against each other; of a front each two of its values."""
    if is_front(facts.trials):
        return values_charts(facts.trials, (facts.results or {}).get("front"))
    best = facts.status.best
    names = list(scores_of(best)) if best is not None else []
    pairs = list(combinations(names, 2))[:_FRONTS]
    return [pair_chart(facts.trials, i, pair) for i, pair in enumerate(pairs)]


def top_trials(facts: Facts, count: int = 10) -> str:
    """The best trials of the selection split, with what is believed of them and their guards."""
    scored = [t for t in facts.trials if value_of(t) is not None and STOPPED not in t.user_attrs]
    if not scored or is_front(scored):
        return ""
    believed = shrunken(facts.status.about, facts.trials)
    guarded = any(guards_of(t) for t in scored)
    rows = [
        (
            str(t.number),
            charts.percent(value_of(t) or 0.0),
            *([charts.percent(believed[t.number])] if believed else []),
            *([standing_of(t)] if guarded else []),
            str(t.user_attrs["source"]),
        )
        for t in sorted(scored, key=order)[:count]
    ]
    titles = ("trial", "selection %", *(["shrunken %"] if believed else []))
    note = (
        "Shrunken: drawn towards the mean of all trials by the share of their spread that is "
        "noise, so that the best of many is not flattered."
    )
    return table((*titles, *(["guards"] if guarded else []), "proposed by"), rows) + (
        paragraph(note, "note") if believed else ""
    )


def choices_table(facts: Facts) -> str:
    """Scores by the listed values that trials took."""
    kinds = facts.trials[0].distributions if facts.trials else {}
    best, rows = facts.status.best, []
    for name, kind in kinds.items():
        for value in getattr(kind, "choices", ()):
            scores = [
                v
                for t in facts.trials
                if t.params.get(name) == value and (v := value_of(t)) is not None
            ]
            mark = "best" if best is not None and best.params.get(name) == value else ""
            most = charts.percent(max(scores)) if scores else "-"
            mean = charts.percent(sum(scores) / len(scores)) if scores else "-"
            rows.append((f"{name} = {value}", str(len(scores)), mean, most, mark))
    titles = ("choice", "trials", "mean %", "highest %", "of the best trial")
    return table(titles, rows) if rows else ""


def racing_words(facts: Facts) -> str:
    """What stopping early saved, where trials were raced."""
    stopped = [t for t in facts.trials if STOPPED in t.user_attrs]
    if not stopped:
        return ""
    scored = [n for t in facts.trials if value_of(t) is not None and (n := examples_of(t))]
    seen, whole = sum(scored), max(scored) * len(scored)
    return paragraph(
        f"Racing stopped {len(stopped)} of {len(scored)} trials: {seen:,} examples were scored "
        f"where {whole:,} would have been, {charts.percent(1 - seen / whole)} % less."
    )


def costs(facts: Facts) -> str:
    """Seconds by phase, of each search."""
    rows = []
    for name, trials in facts.status.searches.items():
        phases: Counter[str] = Counter()
        for trial in trials:
            phases.update(trial.user_attrs.get("seconds", {}))
        total = sum(phases.values())
        rows += [
            (
                f"{_TITLES.get(name, name)}: {phase}",
                f"{seconds:,.1f}",
                f"{1000 * seconds / len(trials):,.0f}",
                charts.percent(seconds / total) if total else "-",
            )
            for phase, seconds in phases.items()
        ]
    return table(("phase", "seconds", "ms a trial", "share %"), rows) if rows else ""


def failures(counts: Mapping[str, int]) -> str:
    """Failed trials by reason."""
    return bullets([f"{count} x {reason}" for reason, count in counts.items()])
