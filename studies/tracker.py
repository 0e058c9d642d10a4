"""The tracker's side: asks for trials, writes them to MLflow, comes back after an outage."""

from collections.abc import Callable
from dataclasses import replace

from optuna.trial import FrozenTrial

from studies.particulars import Particulars
from studies.secrets import reason_of
from studies.system_metrics import SystemSampler
from studies.tracking_store import import_quietly, ledger_tag, open_client
from studies.tracking_sync import Experiment, started
from studies.tracking_wire import GIVE_UP, Answer, Ask, Question, Task, pause_after


class Tracker:
    """Copies a study's finished trials to MLflow until the study is over."""

    def __init__(self, task: Task, ask: Ask, gone: Callable[[], bool] = lambda: False) -> None:
        """Prepare; nothing is opened before `run`.

        Args:
            task: what to mirror where.
            ask: asks the study; returns as soon as there is news.
            gone: whether the study's process is dead, so that nothing more may be written.
        """
        self._task, self._ask, self._gone = task, ask, gone
        self._progress = task.progress
        self._told = Particulars()
        self._experiment: Experiment | None = None
        self._first: FrozenTrial | None = None
        self._place = 0
        self._sampler = SystemSampler() if task.system else None

    def run(self) -> None:
        """Mirror until the study is over, or until nothing but failures can be expected.

        Raises:
            EOFError: the study is gone.
        """
        if self._sampler is not None:
            import_quietly()  # once, before two threads want it
            self._sampler.start()
        failures, pause = 0, None
        while True:
            answer = self._ask(Question(self._place, self._progress, pause))
            if self._sampler is not None and answer.closing:
                self._sampler.end()
            try:
                self._sync(answer)
            except EOFError:
                raise
            except Exception as error:  # whatever it is, it must not reach the study
                self._fail(error)
                failures += 1
                pause = pause_after(failures)
                over = answer.closing and failures >= GIVE_UP
            else:
                failures, pause = 0, None
                over = answer.closing and not answer.more
            if over:
                self._ask(Question(self._place, self._progress, over=True))
                return

    def _sync(self, answer: Answer) -> None:
        """Bring the store up to date; opens it first if need be."""
        self._told = self._told if answer.told is None else answer.told
        if self._place == 0 and answer.trials:
            self._first = answer.trials[0]
        if self._first is None:
            open_client(self._task.uri)  # a new store's tables take seconds
            return
        experiment = self._opened(self._first)
        start = min(self._task.start, started(self._first))
        self._report(experiment)
        if self._sampler is not None or self._told.params:
            experiment.begin_summary(start)
        for trial in answer.trials:
            if self._gone():
                raise EOFError
            experiment.write(trial)
            self._place += 1
            self._report(experiment)
        self._flush(experiment)
        if answer.closing and not answer.more:
            self._close(experiment, answer, start)

    def _opened(self, first: FrozenTrial) -> Experiment:
        """The study's experiment, in which every trial that it holds already is left alone."""
        if self._experiment is None:
            task, tag = self._task, ledger_tag([first])
            assert tag is not None, "the study answers with finished trials alone"
            self._experiment = Experiment(task.uri, task.experiment, tag, task.tags, self._told)
        return self._experiment

    def _close(self, experiment: Experiment, answer: Answer, start: int) -> None:
        """The study is over and all its trials are there."""
        if answer.summary is None:
            experiment.stop_summary()
        else:
            experiment.write_summary(answer.summary, start)
            self._progress = replace(self._progress, summarised=True)
        self._report(experiment)

    def _report(self, experiment: Experiment) -> None:
        count, refused = experiment.count, experiment.refused
        self._progress = replace(self._progress, failing=False, mirrored=count, refused=refused)

    def _flush(self, experiment: Experiment) -> None:
        """Write what was sampled; what the store does not take is kept."""
        samples = [] if self._sampler is None else self._sampler.take()
        try:
            experiment.sample(samples)
        except Exception:
            if self._sampler is not None:
                self._sampler.put_back(samples)
            raise

    def _fail(self, error: Exception) -> None:
        self._experiment, self._place = None, 0  # what the store holds is unknown: look again
        self._progress = self._progress.failed(reason_of(error))
