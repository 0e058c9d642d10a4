"""The run `summary` of a study: begun with it, filled while it runs, ended once."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.particulars import Particulars
from studies.system_metrics import Sample, points
from studies.tracking_inputs import log_inputs
from studies.tracking_runs import FINISHED, KILLED, RUNNING, Runs, named
from studies.tracking_store import SUMMARY


@dataclass(frozen=True, slots=True)
class Summary:
    """What a study came to.

    Attributes:
        recipe_text: of the found recipe, as YAML.
        table_text: of the comparison, as Markdown.
        metrics: headline figures.
        pictures: image files; one that does not exist is left out.
        report: the page of the study, if it is written.
        ended: when, in milliseconds; None for now.
    """

    recipe_text: str
    table_text: str
    metrics: Mapping[str, float]
    pictures: Sequence[Path] = ()
    report: Path | None = None
    ended: int | None = None


class SummaryRun:
    """It, whether or not the store has it yet. For use by one thread."""

    def __init__(
        self, runs: Runs, told: Particulars, attempt: Callable[[Callable[[], None]], bool]
    ) -> None:
        """Look for it; nothing is written.

        Args:
            runs: of the ledger.
            told: the study's particulars.
            attempt: does what a store may refuse without harm to all else.
        """
        self._runs, self._told, self._attempt = runs, told, attempt
        known = runs.find(SUMMARY)
        self._run: Any = runs.client.get_run(known[0].info.run_id) if known else None
        self._begun = False

    @property
    def ended(self) -> bool:
        """Whether the store has it, whole."""
        return self._run is not None and self._run.info.status == FINISHED

    def begin(self, start: int) -> None:
        """Let it stand as running, with params and inputs.

        Args:
            start: of the study, in milliseconds; for one that the store does not have yet.
        """
        if self._begun:
            return
        if self._run is None:
            self._run = self._runs.create(SUMMARY, SUMMARY, start, {})
        elif self._run.info.status != RUNNING:
            self._runs.client.update_run(self._id, status=RUNNING)
        self._describe()
        self._begun = True

    def sample(self, samples: Sequence[Sample]) -> None:
        """Add figures of the system."""
        if samples:
            self._runs.log_series(self._id, points(samples, self._run.info.start_time))

    def stop(self) -> None:
        """Say that nobody runs the study any more, which has not ended."""
        if self._begun:
            self._runs.client.set_terminated(self._id, KILLED)

    def end(self, summary: Summary, start: int) -> None:
        """Write what the study came to; when it ended is said once.

        Args:
            summary: what.
            start: as for `begin`.
        """
        stamp = summary.ended or int(time.time() * 1000)
        said = self._run.info.end_time if self.ended and not self._begun else None
        if said is not None and said >= stamp:
            stamp = said
        if self._run is None:
            self._run = self._runs.create(SUMMARY, SUMMARY, min(start, stamp), {})
        if not self._begun:
            self._describe()
        self._runs.log(self._id, {}, summary.metrics, stamp)
        client = self._runs.client
        client.log_text(self._id, summary.recipe_text, "recipe.yaml")
        client.log_text(self._id, summary.table_text, "results.md")
        self.keep(summary.report, summary.pictures)
        if said != stamp:
            client.set_terminated(self._id, FINISHED, end_time=stamp)

    def keep(self, page: Path | None, pictures: Sequence[Path]) -> None:
        """Store a report and its pictures, those that exist."""
        for picture in pictures:
            if picture.is_file():
                self._runs.client.log_artifact(self._id, str(picture), "figures")
        if page is not None and page.is_file():
            self._runs.client.log_artifact(self._id, str(page))

    @property
    def _id(self) -> str:
        return str(self._run.info.run_id)

    def _describe(self) -> None:
        """Params and inputs that it lacks; a changed param is a tag, for MLflow changes none."""
        inputs = self._run.inputs
        if not (inputs and (inputs.dataset_inputs or inputs.model_inputs)):
            self._attempt(lambda: log_inputs(self._runs, self._id, self._told))
        params, known = named(self._told.params), self._run.data.params
        self._runs.log(self._id, {k: v for k, v in params.items() if k not in known}, {}, 0)
        for key, value in params.items():
            if known.get(key, value) != value:
                self._runs.client.set_tag(self._id, key, value)
