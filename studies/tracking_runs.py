"""One ledger's runs in an MLflow experiment: found, begun, and filled under sound names."""

import re
import tempfile
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from studies.tracking_store import KIND, LEDGER, open_client, open_experiment

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
"""Statuses of runs."""
_BATCH = 1000
"""Metrics that MLflow takes at once."""


class Runs:
    """The runs of one ledger. For use by one thread; no call is tried twice.

    Attributes:
        client: of MLflow.
        experiment: its id.
    """

    def __init__(self, uri: str, name: str, ledger: str, tags: Mapping[str, str]) -> None:
        """Open or begin the experiment `name` in the store at `uri`; `tags` are for every run."""
        self.client = open_client(uri)
        self.experiment = open_experiment(self.client, uri, name)
        self._uri = uri
        self._tags = {**tags, LEDGER: ledger}

    def find(self, kind: str) -> list[Any]:
        """All runs of one kind, as MLflow gives them."""
        text = f"tags.{LEDGER} = '{self._tags[LEDGER]}' and tags.{KIND} = '{kind}'"
        found, token = [], None
        while True:
            page = self.client.search_runs(
                [self.experiment], text, max_results=1000, page_token=token
            )
            found += list(page)
            token = page.token
            if not token:
                return found

    def create(self, kind: str, name: str, start: int, tags: Mapping[str, str]) -> Any:
        """Begin a run at a time in milliseconds."""
        tags = {**self._tags, KIND: kind, **tags}
        return self.client.create_run(self.experiment, start_time=start, run_name=name, tags=tags)

    def log(
        self, run: str, params: Mapping[str, Any], metrics: Mapping[str, float], stamp: int
    ) -> None:
        """Write params and metrics; the client sends many in parts."""
        from mlflow.entities import Metric, Param

        own = [Param(key, str(value)) for key, value in named(params).items()]
        figures = [Metric(key, value, stamp, 0) for key, value in named(metrics).items()]
        self.client.log_batch(run, metrics=figures, params=own)

    def log_series(self, run: str, points: list[tuple[str, float, int, int]]) -> None:
        """Write metrics over time: name, value, time in milliseconds, step."""
        from mlflow.entities import Metric

        for i in range(0, len(points), _BATCH):
            self.client.log_batch(run, metrics=[Metric(*p) for p in points[i : i + _BATCH]])

    def keep_text(self, artifacts: str, text: str, name: str) -> None:
        """Store a text with a run whose artifacts lie at an address.

        The client's own `log_text` asks for that address anew: 13 ms of CPU time instead of 2.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            repository: Any = get_artifact_repository(artifacts, self._uri)
            repository.log_artifact(str(path))


@lru_cache(maxsize=10_000)
def _clean(name: str) -> str:
    """A name that MLflow accepts: no odd characters, no empty path parts."""
    parts = re.sub(r"[^\w/.\- :]", "_", name).split("/")
    return "/".join(part for part in parts if part not in {"", ".", ".."})[:240] or "_"


def named(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under names that MLflow accepts, each its own."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = _clean(name)
        while key in found:
            key += "_"
        found[key] = value
    return found


def milliseconds(moment: datetime) -> int:
    """As MLflow counts time."""
    return int(moment.timestamp() * 1000)
