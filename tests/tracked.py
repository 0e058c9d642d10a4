"""Ledgers to mirror, and a local store to mirror them to."""

from pathlib import Path
from typing import Any

from objectives.records import ExampleScore, ScoreSet
from search.dimension import Dimension
from studies.ledger import SEARCH, Ledger, Outcome
from studies.tracker import Tracker
from studies.tracking import Mirror, Status
from studies.tracking_address import tracking_uri
from studies.tracking_summary import Summary
from studies.tracking_wire import Ask, Task

NAMES = ("weight.math.0", "weight.odd (name)/")
"""The second has characters that MLflow refuses."""
SUMMARY = Summary("method: linear\n", "| model | score |\n", {"test.vqa": 0.5})


def outcome(number: int, *, failed: bool = False) -> Outcome:
    values = (1.0, 0.25 + number / 100)
    scores = tuple(ExampleScore(str(i), v, f"kind {i}") for i, v in enumerate(values))
    return Outcome(
        values={name: i + 0.1 * number for i, name in enumerate(NAMES)},
        digest=f"digest-{number}",
        source="warm start",
        sets=() if failed else (ScoreSet("vqa", "micro", 1.0, scores),),
        value=None if failed else sum(values) / 2,
        reason="the merged model's scores are not finite" if failed else "",
        seconds={"suggest": 0.25} if failed else {"build": 0.5, "score": 1.5},
    )


def ledger_of(folder: Path, trials: int, failed: tuple[int, ...] = ()) -> Ledger:
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder, SEARCH, [Dimension(name, 0.0, 9.0, 0.0) for name in NAMES])
    for number in range(len(ledger.trials), trials):
        ledger.tell(outcome(number, failed=number in failed))
    return ledger


class InThread:
    """A tracker in the thread that answers it: what MLflow does can be watched and broken."""

    def work(self, task: Task, answers: Ask) -> None:
        try:
            Tracker(task, answers).run()
        except EOFError:
            return

    def kill(self) -> None:
        """A thread cannot be."""


def mirrored(
    ledger: Ledger, uri: str, name: str, summary: Summary | None = None, timeout_s: float = 120.0
) -> Status:
    mirror = Mirror(uri, name, lambda: ledger.trials, {"sampler": "tpe"}, host=InThread())
    mirror.start()
    return mirror.finish(timeout_s, summary)


class Store:
    """One SQLite store for the whole file, for its tables take seconds to make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = tracking_uri(None, folder)

    def client(self) -> Any:
        from studies.tracking_store import open_client

        return open_client(self.uri)

    def runs(self, name: str) -> dict[str, Any]:
        """All active runs of an experiment, by name; a name must not come twice."""
        client = self.client()
        found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        runs = {run.info.run_name: run for run in found}
        assert len(runs) == len(found)
        return runs
