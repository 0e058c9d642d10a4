"""`mergetuna status`: how a study stands, from another shell."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from studies.status import Status


_SHOWN = 12  # points of a front


def status(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    last: Annotated[int, typer.Option(min=0, help="How many of the last trials to show.")] = 5,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say whether the study in FOLDER runs, its best so far, the time left, what failed.

    Writes nothing: it may be asked while the study runs, and after a crash.
    """
    from rich.markup import escape

    from studies.console import say, say_json
    from studies.status import read_status

    found = read_status(folder)
    if as_json:
        say_json(_plain(found, last))
        return
    for title, text in _lines(found, last):
        say(escape(f"{title:<9}{text}"))


def _lines(found: "Status", last: int) -> list[tuple[str, str]]:
    """Title and text of each line."""
    about = found.about
    lines = [("study", str(about.get("study", found.folder.name))), ("state", _state(found))]
    for name, trials in found.searches.items():
        failed = sum(trial.values is None for trial in trials)
        count = f"{len(trials)} of {about.get('trials') or 'any number'}"
        title = "trials" if name == "search" else "rival"
        text = count + (f", {failed} failed" if failed else "")
        lines.append((title, text + (" (the search without depth)" if title == "rival" else "")))
    lines += _front(found)
    if found.found is not None:
        lines.append(("found", _found(found)))
    lines.append(("best", _best(found)))
    if found.state == "running":
        lines.append(("left", _duration(found.left_s)))
    shown = found.last(last)
    lines += [("last" if trial is shown[0] else "", _trial(trial)) for trial in shown]
    why = [f"{n} x {reason}" for reason, n in found.failures().items()]
    lines += [("failures" if i == 0 else "", text) for i, text in enumerate(why)]
    lines.append(("test", f"the test split has been read {found.test_reads} times"))
    return lines


def _state(found: "Status") -> str:
    if found.state == "running":
        by = found.holder
        who = "" if by is None or by.pid is None else f" by process {by.pid} on {by.host}"
        return f"running{who}"
    if found.state == "stopped":
        return "stopped before its end; `mergetuna run` on its file goes on" + (
            " (the last line of the journal is torn: that trial is scored again)"
            if found.torn
            else ""
        )
    return found.state


def _found(found: "Status") -> str:
    """What the study chose, on examples that decided nothing, and how to come by it."""
    from shlex import quote

    from studies.console import command_name

    chosen = found.found or {}
    value, low, high = (100 * chosen["test"][key] for key in ("value", "low", "high"))
    return (
        f"{value:.1f} [{low:.1f}, {high:.1f}] on the test split, trial {chosen['trial']}, chosen "
        f"on confirm; its recipe: {command_name()} best {quote(str(found.folder))}"
    )


def _best(found: "Status") -> str:
    if found.best is None:
        return "none yet"
    value = sum(found.best.values) / len(found.best.values)
    limits = found.best_interval
    text = f"{100 * value:.1f}"
    if limits is not None:
        text += f" [{100 * limits.low:.1f}, {100 * limits.high:.1f}]"
    return (
        f"{text} on the selection split, trial {found.best.number}"
        f"; chosen among many, so too high by luck{_believed(found)}{_guarded(found.best)}"
    )


def _believed(found: "Status") -> str:
    """What is believed of the best trial's score."""
    from studies.shrunken import shrunken

    known = shrunken(found.about, found.trials)
    if found.best is None or found.best.number not in known:
        return ""
    return f" ({100 * known[found.best.number]:.1f} when shrunken)"


def _front(found: "Status") -> list[tuple[str, str]]:
    """The trials of a front so far, where one is searched."""
    from search.front import front_of, is_front
    from studies.front_words import front_so_far
    from studies.trial_facts import named_values

    if not is_front(found.trials):
        return []
    lines = [("front", f"{front_so_far(found.trials)}, on the selection split")]
    for trial in front_of(found.trials)[:_SHOWN]:
        own = ", ".join(f"{k} {100 * v:.1f}" for k, v in named_values(trial).items())
        lines.append(("", f"trial {trial.number}: {own}"))
    return lines


def _guarded(trial: Any) -> str:
    """How a trial stands to the guards, where there are any."""
    from studies.trial_facts import standing_of

    standing = standing_of(trial)
    return f"; guards: {standing}" if standing else ""


def _trial(trial: Any) -> str:
    value = trial.user_attrs.get("reason", "failed") if trial.values is None else None
    shown = value or " ".join(f"{100 * one:.1f}" for one in trial.values)
    seconds = sum(trial.user_attrs.get("seconds", {}).values())
    text = f"trial {trial.number}: {shown}, {trial.user_attrs['source']}, {seconds:.1f} s"
    return text + _guarded(trial)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "cannot be told"
    from studies.console import duration

    return f"about {duration(seconds)} (h:m:s) of searching, then confirm and test"


def _plain(found: "Status", last: int) -> dict[str, Any]:
    """The same as plain data."""
    from dataclasses import asdict

    from search.feasibility import value_of
    from search.front import front_of, hypervolume, is_front
    from studies.trial_facts import guards_of, named_values, spent

    best = found.best
    front = front_of(found.trials) if is_front(found.trials) else []
    return {
        "folder": str(found.folder),
        "study": found.about.get("study"),
        "state": found.state,
        "holder": None if found.holder is None else asdict(found.holder),
        "torn": found.torn,
        "budget": {key: found.about.get(key) for key in ("trials", "timeout_s")},
        "trials": {name: len(trials) for name, trials in found.searches.items()},
        "best": None
        if best is None
        else {
            "trial": best.number,
            "value": value_of(best),
            "interval": None if found.best_interval is None else asdict(found.best_interval),
            "guards": guards_of(best),
        },
        "found": found.found,
        "front": [{"trial": t.number, "values": named_values(t)} for t in front],
        "hypervolume": hypervolume([t.values for t in front]) if front else None,
        "last": [
            {
                "trial": t.number,
                "value": value_of(t),
                "source": t.user_attrs["source"],
                "seconds": spent(t),
            }
            for t in found.last(last)
        ],
        "left_s": found.left_s,
        "failures": found.failures(),
        "test_reads": found.test_reads,
    }
