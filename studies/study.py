"""A study from Python: what the commands do, on one object."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch takes seconds, and a status needs none of it
    import pandas as pd

    from studies.setup import StudyFile
    from studies.status import Status
    from studies.validation import Validation


class Study:
    """A study file and the folder that it fills.

    Every method but `run`, `report` and `export` writes nothing. Mistakes raise
    `merge_ops.errors.UserError` or `objectives.errors.ObjectiveError`, with the text that the
    commands print.

    Attributes:
        path: of the study file.
    """

    def __init__(self, path: str | Path) -> None:
        """Read and check a study file; no model or data is loaded.

        Raises:
            UserError: one line per problem, each with its place in the file.
        """
        self.path = Path(path)
        self._read()

    @classmethod
    def from_dict(
        cls, content: Mapping[str, Any], path: str | Path, *, overwrite: bool = False
    ) -> "Study":
        """Write a study file and read it, so that the commands can go on with the study.

        Args:
            content: what a study file holds; its paths are relative to the file.
            path: of the file.
            overwrite: replace a file with other content; one with the same is left alone.

        Raises:
            UserError: another file is there, or the content is no study's; nothing is left then.
        """
        from studies.study_file import write_study_file

        write_study_file(content, Path(path), overwrite=overwrite)
        return cls(path)

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r})"

    @property
    def folder(self) -> Path:
        """Where its trials and results lie."""
        return self._read().out

    def validate(self, *, quick: bool = False) -> "Validation":
        """Check models, data, memory and time without running; see `mergetuna validate`."""
        from studies.validation import validate_study

        return validate_study(self._read(), quick=quick)

    def run(
        self,
        *,
        trials: int | None = None,
        timeout: str | None = None,
        accept_changes: bool = False,
    ) -> dict[str, Any]:
        """Search, confirm, compare; goes on where an earlier run stopped; returns the results.

        Args:
            trials: in all, instead of the file's budget.
            timeout: of this run, such as "8h", instead of the file's.
            accept_changes: go on although keys that alter no trial have changed.

        Raises:
            KeyboardInterrupt: somebody stopped it; no scored trial is lost.
        """
        from studies.budget_options import overridden
        from studies.interruption import Stopped
        from studies.run import run_study

        study = self._read()
        budget = overridden(study.config.budget, timeout, trials)
        try:
            return run_study(study, budget=budget, accept_changes=accept_changes)
        except Stopped:  # what a notebook and a script expect
            raise KeyboardInterrupt from None

    def status(self) -> "Status":
        """How it stands, from its folder alone, whoever runs it."""
        from studies.status import read_status

        return read_status(self.folder)

    def trials(self, search: str = "search") -> list[dict[str, Any]]:
        """All finished trials as plain records, as `mergetuna trials --json` prints them.

        Args:
            search: "search", or "global" for its rival without depth.
        """
        from studies.journal import read_trials
        from studies.trial_records import records

        return records(self.folder, read_trials(self.folder, search))

    def dataframe(self, search: str = "search") -> "pd.DataFrame":
        """All finished trials, one row each, in columns named as Optuna names them.

        Args:
            search: as of `trials`.
        """
        from optuna.storages import InMemoryStorage
        from optuna.study import create_study

        from studies.journal import read_trials

        found = create_study(storage=InMemoryStorage(), direction="maximize")
        found.add_trials(read_trials(self.folder, search))
        table: pd.DataFrame = found.trials_dataframe()
        return table.drop(columns="user_attrs_scores", errors="ignore")

    def best(self) -> dict[str, Any]:
        """The chosen recipe's path, its trial, digest and scores, as `mergetuna best --json`."""
        from studies.chosen import best_of

        return best_of(self.folder)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the report of the study, finished or not, and return the page's path.

        Args:
            out: the HTML file, a new one or an earlier report; by default `report.html` in the
                folder.
        """
        from studies.report.page import write_report
        from studies.report.place import chosen_place

        place = None if out is None else chosen_place(self.folder, Path(out))
        return write_report(self.folder, place).page

    def export(self, out: str | Path, *, overwrite: bool = False) -> Path:
        """Write checkpoint, recipe, report and lineage as one folder, and return it.

        Args:
            out: the folder.
            overwrite: replace it if it exists.
        """
        from studies.release import release

        release(self.folder, Path(out), overwrite=overwrite)
        return Path(out)

    def _read(self) -> "StudyFile":
        """The file as it stands now: it may be edited between two runs."""
        from studies.setup import read_study

        return read_study(self.path)
