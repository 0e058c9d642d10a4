"""What the tracker writes to MLflow: one flat run per finished trial, and one summary."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.racing import STOPPED
from studies.metric_names import trial_metrics
from studies.tracking_store import (
    KIND,
    LEDGER,
    SUMMARY,
    TRIAL,
    ended,
    open_client,
    open_experiment,
)
from studies.trial_facts import COPY_OF, GUARDS, standing_of

_NUMBER = "trial"
"""Name of a tag."""
_ENDED = {"FINISHED", "FAILED"}
"""Statuses of runs that are whole."""
_TOLD = ("source", "digest", "reason", COPY_OF, STOPPED)
"""Attributes of trials that are tags too."""
_LONGEST_TAG = 5000  # characters


@dataclass(frozen=True, slots=True)
class Summary:
    """What a study came to.

    Attributes:
        recipe_text: of the found recipe, as YAML.
        table_text: of the comparison, as Markdown.
        metrics: headline figures.
        pictures: image files; one that does not exist is left out.
        report: the page of the study, if it is written.
    """

    recipe_text: str
    table_text: str
    metrics: Mapping[str, float]
    pictures: Sequence[Path] = ()
    report: Path | None = None


class Experiment:
    """One ledger's runs in the experiment of its study. For use by one thread.

    A run is ended by the last call of three, so that only a whole one has ended. One that has not
    was cut short and is completed by the next to come; trials whose runs are whole are left alone.
    After an error the object must be dropped for a new one, which looks again at what the store
    really holds.
    """

    def __init__(self, uri: str, name: str, ledger: str, tags: Mapping[str, str]) -> None:
        """Open or begin the experiment `name` in the store at `uri`."""
        self._client = open_client(uri)
        self._id = open_experiment(self._client, uri, name)
        self._tags = {**tags, LEDGER: ledger}
        self._done: set[int] = set()
        self._half: dict[int, str] = {}
        self._find()

    @property
    def count(self) -> int:
        """How many trials the store holds."""
        return len(self._done)

    def write(self, trial: FrozenTrial) -> None:
        """Write a trial, unless it is still running or its run is done."""
        if not trial.state.is_finished() or trial.number in self._done:
            return
        seconds = trial.user_attrs.get("seconds", {})
        end = ended(trial)
        stamp = _milliseconds(end)
        run = self._half.pop(trial.number, None) or self._create(
            f"trial-{trial.number:04d}",
            _milliseconds(end - timedelta(seconds=sum(seconds.values()))),
            {KIND: TRIAL, _NUMBER: str(trial.number), **_facts(trial)},
        )
        complete = trial.state is TrialState.COMPLETE
        self._log(run, trial.params, trial_metrics(trial), stamp)
        self._client.set_terminated(run, "FINISHED" if complete else "FAILED", end_time=stamp)
        self._done.add(trial.number)

    def write_summary(self, summary: Summary) -> None:
        """Write the run `summary`, or bring it up to date."""
        now = int(time.time() * 1000)
        known = self._search(SUMMARY)
        tags = {KIND: SUMMARY}
        run = known[0].info.run_id if known else self._create(SUMMARY, now, tags)
        self._log(run, {}, summary.metrics, now)
        self._client.log_text(run, summary.recipe_text, "recipe.yaml")
        self._client.log_text(run, summary.table_text, "results.md")
        self._log_files(run, summary.report, summary.pictures)
        self._client.set_terminated(run, "FINISHED", end_time=now)

    def write_report(self, page: Path, pictures: Sequence[Path]) -> bool:
        """Put a report beside the summary; whether there is a summary."""
        known = self._search(SUMMARY)
        if known:
            self._log_files(known[0].info.run_id, page, pictures)
        return bool(known)

    def _log_files(self, run: str, page: Path | None, pictures: Sequence[Path]) -> None:
        """Those that exist."""
        for picture in pictures:
            if picture.is_file():
                self._client.log_artifact(run, str(picture), "figures")
        if page is not None and page.is_file():
            self._client.log_artifact(run, str(page))

    def _find(self) -> None:
        """Read which trials' runs are done and which were cut short; drop doubles."""
        runs = self._search(TRIAL)
        self._done = {int(r.data.tags[_NUMBER]) for r in runs if r.info.status in _ENDED}
        for run in runs:
            number = int(run.data.tags[_NUMBER])
            if run.info.status in _ENDED:
                continue
            if number in self._done or number in self._half:
                self._client.delete_run(run.info.run_id)
            else:
                self._half[number] = run.info.run_id

    def _search(self, kind: str) -> list[Any]:
        """All of this ledger's runs of one kind."""
        text = f"tags.{LEDGER} = '{self._tags[LEDGER]}' and tags.{KIND} = '{kind}'"
        found, token = [], None
        while True:
            page = self._client.search_runs([self._id], text, max_results=1000, page_token=token)
            found += list(page)
            token = page.token
            if not token:
                return found

    def _create(self, name: str, start: int, tags: Mapping[str, str]) -> str:
        tags = {**self._tags, **tags}
        run = self._client.create_run(self._id, start_time=start, run_name=name, tags=tags)
        return str(run.info.run_id)

    def _log(
        self, run: str, params: Mapping[str, Any], metrics: Mapping[str, float], stamp: int
    ) -> None:
        """The client sends many in parts."""
        from mlflow.entities import Metric, Param

        own = [Param(key, str(value)) for key, value in _named(params).items()]
        figures = [Metric(key, value, stamp, 0) for key, value in _named(metrics).items()]
        self._client.log_batch(run, metrics=figures, params=own)


def _facts(trial: FrozenTrial) -> dict[str, str]:
    """A trial's tags, by name."""
    known = [key for key in _TOLD if key in trial.user_attrs]
    facts = {str(key): str(trial.user_attrs[key])[:_LONGEST_TAG] for key in known}
    guards = {GUARDS: standing} if (standing := standing_of(trial)) else {}
    return {"state": trial.state.name} | facts | guards


@lru_cache(maxsize=10_000)
def _clean(name: str) -> str:
    """A name that MLflow accepts: no odd characters, no empty path parts."""
    parts = re.sub(r"[^\w/.\- :]", "_", name).split("/")
    return "/".join(part for part in parts if part not in {"", ".", ".."})[:240] or "_"


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under names that MLflow accepts, each its own."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        key = _clean(name)
        while key in named:
            key += "_"
        named[key] = value
    return named


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
