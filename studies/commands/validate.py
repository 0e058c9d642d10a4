"""`mergetuna validate`: check a study without running it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from studies.estimate import Estimate
    from studies.validation import Validation


def validate(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Headers and data alone: load no model, tell no time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check models, data, memory and time of STUDY without running it; writes nothing.

    The time is told by building and scoring two candidates on a few blocks of examples. Exits
    with 2 if the study would not run; all that is wrong is named.
    """
    import sys

    from rich.markup import escape

    from studies.console import quiet_transformers, say, say_json
    from studies.mistaken import check_study_file

    check_study_file(study)
    from studies.setup import read_study

    checked = read_study(study)
    from studies.validation import validate_study  # seconds, which a mistake need not wait for

    quiet_transformers()
    found = validate_study(checked, quick=quick)
    if as_json:
        say_json(found.record())
    else:
        for title, text in _lines(found, quick=quick):
            say(escape(f"{title:<9}{text}"))
    for problem in found.problems:
        sys.stderr.write(f"{problem}\n")
    if not found.ok:
        raise typer.Exit(2)


def _lines(found: "Validation", *, quick: bool) -> Iterator[tuple[str, str]]:
    """Title and text of each line; a title stands once."""
    yield "study", f"{found.study}, {found.file}"
    yield "folder", f"{found.out} {found.state}"
    yield from _titled("models", found.models)
    for name, sizes in found.data.items():
        yield "data", f"{name}: " + ", ".join(f"{split} {n}" for split, n in sizes.items())
    yield from _titled("", found.foresight)
    if found.search:
        yield (
            "search",
            "{method}, {dimensions} dimensions, {trials} trials by {sampler}".format(
                **{**found.search, "trials": found.search["trials"] or "any number of"}
            ),
        )
    for plan in found.memory:
        yield from _titled("memory", plan.text().splitlines())
    yield from _titled("warning", found.warnings)
    if found.estimate is not None:
        yield from _time(found.estimate)
    elif found.ok and not quick:
        yield "time", "the study has ended; running it again shows its results"
    yield "result", "it would run" if found.ok else "it would not run:"


def _titled(title: str, lines: "tuple[str, ...] | list[str]") -> Iterator[tuple[str, str]]:
    for i, line in enumerate(lines):
        yield "" if i else title, line


def _time(estimate: "Estimate") -> Iterator[tuple[str, str]]:
    """The total, then each phase and what it consists of."""
    from studies.console import duration

    timings = estimate.timings
    candidates = "one candidate" if timings.candidates == 1 else f"{timings.candidates} candidates"
    by = f"by {candidates} on {timings.examples} examples"
    yield "time", f"about {duration(estimate.seconds)} (h:m:s), {by}"
    for phase in estimate.phases:
        yield "", f"  {phase.name:<14} {duration(phase.seconds):>9}  {phase.how}"
    for note in estimate.notes:
        yield "", f"  {note}"
