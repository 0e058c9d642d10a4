"""What the tracker writes to MLflow: one flat run per finished trial, and one summary."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.racing import STOPPED
from studies.metric_names import sortable, trial_metrics
from studies.particulars import Particulars
from studies.secrets import reason_of
from studies.system_metrics import Sample
from studies.tracking_runs import FAILED, FINISHED, Runs, milliseconds
from studies.tracking_store import TRIAL, ended
from studies.tracking_summary import Summary, SummaryRun
from studies.trial_facts import COPY_OF, GUARDS, spent, standing_of

_NUMBER = "trial"
"""Name of a tag."""
_ENDED = {FINISHED, FAILED}
"""Statuses of runs that are whole."""
_TOLD = ("source", "digest", "reason", COPY_OF, STOPPED)
"""Attributes of trials that are tags too."""
_LONGEST_TAG = 5000  # characters
_RECIPE, _WITHOUT = "recipe.yaml", "without"
"""A file of every run, and the tag of one that lacks it."""
_PATIENCE = 3  # files that a store may refuse before no more are sent


class Experiment:
    """One ledger's runs in the experiment of its study. For use by one thread.

    A run is ended by the last call of three, so that only a whole one has ended. One that has not
    was cut short and is completed by the next to come; trials whose runs are whole are left alone.
    After an error the object must be dropped for a new one, which looks again at what the store
    really holds.

    Recipes and inputs are less than the rest: where the store takes runs but not those, the runs
    are written without.
    """

    def __init__(
        self,
        uri: str,
        name: str,
        ledger: str,
        tags: Mapping[str, str],
        told: Particulars = Particulars(),  # noqa: B008 (frozen)
    ) -> None:
        """Open or begin the experiment `name` in the store at `uri`."""
        self._runs = Runs(uri, name, ledger, tags)
        self._told = told
        self._done: set[int] = set()
        self._half: dict[int, Any] = {}
        self._bare: dict[int, Any] = {}
        self._lacking = {} if told.recipe_of else {_WITHOUT: _RECIPE}
        self._refused = 0
        self._reason = ""
        self._find()
        self._summary = SummaryRun(self._runs, told, self._attempt)

    @property
    def count(self) -> int:
        """How many trials the store holds."""
        return len(self._done)

    @property
    def bare(self) -> int:
        """How many of these lack their recipe."""
        return len(self._bare)

    @property
    def ended(self) -> bool:
        """Whether the store holds the summary of a study that ended."""
        return self._summary.ended

    @property
    def refused(self) -> str:
        """Why recipes or inputs were refused; empty if none was."""
        return self._reason

    def write(self, trial: FrozenTrial) -> None:
        """Write a trial, unless it is still running or its run is done."""
        if not trial.state.is_finished():
            return
        if trial.number in self._done:
            if self._told.recipe_of and (bare := self._bare.pop(trial.number, None)):
                self._keep_recipe(bare, trial)
            return
        stamp = milliseconds(ended(trial))
        run = self._half.pop(trial.number, None) or self._runs.create(
            TRIAL,
            f"trial-{trial.number:04d}",
            started(trial),
            {_NUMBER: str(trial.number), **_facts(trial), **self._lacking},
        )
        self._keep_recipe(run, trial)
        complete = trial.state is TrialState.COMPLETE
        own = run.info.run_id
        self._runs.log(own, sortable(trial.params), trial_metrics(trial), stamp)
        self._runs.client.set_terminated(own, FINISHED if complete else FAILED, end_time=stamp)
        self._done.add(trial.number)

    def begin_summary(self, start: int) -> None:
        """Let the run `summary` stand as running, since a time in milliseconds."""
        self._summary.begin(start)

    def sample(self, samples: Sequence[Sample]) -> None:
        """Add figures of the system to the run `summary`, which must have begun."""
        self._summary.sample(samples)

    def stop_summary(self) -> None:
        """The study was stopped before its end."""
        self._summary.stop()

    def write_summary(self, summary: Summary, start: int) -> None:
        """Write the run `summary`, or bring it up to date.

        Args:
            summary: what the study came to.
            start: of the study in milliseconds, where the store has no such run yet.
        """
        self._summary.end(summary, start)

    def write_report(self, page: Path, pictures: Sequence[Path]) -> bool:
        """Put a report beside the summary; whether there is a summary of a study that ended."""
        if self._summary.ended:
            self._summary.keep(page, pictures)
        return self._summary.ended

    def _keep_recipe(self, run: Any, trial: FrozenTrial) -> None:
        """Store it with its run; a run that lacks it says so, and gets it another time."""
        own, known, kept = run.info, run.data.tags, False
        if (recipe_of := self._told.recipe_of) is not None:
            kept = self._attempt(
                lambda: self._runs.keep_text(own.artifact_uri, recipe_of(trial), _RECIPE)
            )
        if kept and _WITHOUT in known:
            self._runs.client.delete_tag(own.run_id, _WITHOUT)
        elif not kept and _WITHOUT not in known:
            self._runs.client.set_tag(own.run_id, _WITHOUT, _RECIPE)

    def _attempt(self, task: Callable[[], None]) -> bool:
        """Do what may be refused; whoever calls goes on with what may not, and so sees outages."""
        if self._refused >= _PATIENCE:
            return False
        try:
            task()
        except Exception as error:  # a store of files raises what it likes
            self._refused += 1
            self._reason = reason_of(error)
            return False
        return True

    def _find(self) -> None:
        """Read which trials' runs are done and which were cut short; drop doubles."""
        runs = self._runs.find(TRIAL)
        whole = {int(r.data.tags[_NUMBER]): r for r in runs if r.info.status in _ENDED}
        self._done = set(whole)
        self._bare = {number: run for number, run in whole.items() if _WITHOUT in run.data.tags}
        for run in runs:
            number = int(run.data.tags[_NUMBER])
            if run.info.status in _ENDED:
                continue
            if number in self._done or number in self._half:
                self._runs.client.delete_run(run.info.run_id)
            else:
                self._half[number] = run


def started(trial: FrozenTrial) -> int:
    """When a trial began, in milliseconds, by the seconds that it took."""
    begun: datetime = ended(trial) - timedelta(seconds=spent(trial))
    return milliseconds(begun)


def _facts(trial: FrozenTrial) -> dict[str, str]:
    """A trial's tags, by name."""
    known = [key for key in _TOLD if key in trial.user_attrs]
    facts = {str(key): str(trial.user_attrs[key])[:_LONGEST_TAG] for key in known}
    guards = {GUARDS: standing} if (standing := standing_of(trial)) else {}
    return {"state": trial.state.name} | facts | guards
