"""The tracker: a thread that mirrors the ledger to MLflow and never holds the study up."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from studies.particulars import Particulars
from studies.system_metrics import SystemSampler
from studies.tracking_address import tracking_uri
from studies.tracking_store import (
    import_quietly,
    ledger_tag,
    open_client,
    reason_of,
    without_password,
)
from studies.tracking_summary import Summary
from studies.tracking_sync import Experiment, started

__all__ = ["Mirror", "Status", "Summary", "tracking_uri"]

_LONGEST_PAUSE_S = 60.0
_GIVE_UP = 2  # failures in a row after which a study that is over no longer waits
_FLUSH_S = 30.0  # between two writes of what was sampled, while no trial ends
_SHARE, _LEAST_S = 0.01, 3.0  # of the study's time, and seconds: the most that one waits in doubt


@dataclass(frozen=True, slots=True)
class Status:
    """How far the tracker came; as text, one line for the person at the keyboard.

    Attributes:
        uri: where it writes, without a password.
        mirrored: trials that are in the store.
        finished: trials that are in the ledger.
        complete: all of them are in the store, and so is the summary if there is one.
        errors: failed attempts, those that were made good included.
        last_error: the last one's message, in one line; may be empty.
        refused: why recipes or inputs of runs were refused, in one line; empty if they were not.
    """

    uri: str
    mirrored: int
    finished: int
    complete: bool
    errors: int
    last_error: str
    refused: str = ""

    def __str__(self) -> str:
        text = f"{self.mirrored} of {self.finished} trials are mirrored to {self.uri}"
        if not self.complete:
            text = f"{text} ({self.last_error or 'the store was too slow'})"
        return f"{text}, without some recipes or inputs ({self.refused})" if self.refused else text


class Mirror:
    """Copies finished trials to MLflow, in a daemon thread.

    The store may be slow, hang, refuse or vanish: the study neither waits nor fails. What was
    missed is filled in as soon as the store answers, or by `mergetuna sync`.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        trials: Callable[[], Sequence[FrozenTrial]],
        tags: Mapping[str, str],
        *,
        system: bool = False,
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            uri: an MLflow tracking address.
            experiment: the study's name.
            trials: returns the ledger's finished trials so far, of which there are ever more;
                called from the thread.
            tags: for every run.
            system: sample how busy the machine is, into the run `summary`.
        """
        self._uri, self._name, self._trials, self._tags = uri, experiment, trials, dict(tags)
        self._wake, self._closing, self._stopped = (threading.Event() for _ in range(3))
        self._experiment: Experiment | None = None
        self._summary: Summary | None = None
        self._summarised = False
        self._mirrored = self._errors = self._place = 0
        self._begun, self._failing = time.monotonic(), False
        self._start = int(time.time() * 1000)
        self._last_error = self._refused = ""
        self._told = Particulars()
        self._sampler = SystemSampler() if system else None
        self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)

    def start(self) -> None:
        """Begin; trials that the ledger holds already are mirrored too."""
        self._thread.start()
        self._wake.set()

    def describe(self, told: Particulars) -> None:
        """Say what the study is, before its first trial is told."""
        self._told = told

    def notify(self) -> None:
        """Tell that the ledger has grown; returns at once."""
        self._wake.set()

    def finish(self, timeout_s: float, summary: Summary | None = None) -> Status:
        """Let the tracker catch up, write the summary and end.

        Args:
            timeout_s: it is left behind after so many seconds; sooner, if the store failed last.
            summary: what the study came to, or None if it was cut short.
        """
        now = time.monotonic()
        doubt = min(timeout_s, max(_LEAST_S, _SHARE * (now - self._begun)))
        self._summary = summary
        if self._sampler is not None:
            self._sampler.end()
        self._closing.set()
        self._wake.set()
        while self._thread.is_alive():
            left = now + (doubt if self._failing else timeout_s) - time.monotonic()
            if left <= 0:
                break
            self._thread.join(min(left, 0.1))
        self._stopped.set()
        return self.status()

    def status(self) -> Status:
        """How far the tracker is."""
        finished = sum(trial.state.is_finished() for trial in self._trials())
        complete = self._mirrored >= finished and (self._summary is None or self._summarised)
        address = without_password(self._uri)
        told = (self._errors, self._last_error, self._refused)
        return Status(address, self._mirrored, finished, complete, *told)

    def _run(self) -> None:
        failures = 0
        if self._sampler is not None:
            import_quietly()  # once, before two threads want it
            self._sampler.start()
        while not self._stopped.is_set():
            self._wake.wait(_FLUSH_S if self._sampler else None)
            self._wake.clear()
            closing = self._closing.is_set()
            try:
                self._sync(closing=closing)
            except Exception as error:  # whatever it is, it must not reach the study
                self._fail(error)
                failures += 1
                if closing and failures >= _GIVE_UP:
                    return
                pause = min(2.0**failures, _LONGEST_PAUSE_S)
                (self._stopped if closing else self._closing).wait(1.0 if closing else pause)
                self._wake.set()
            else:
                failures = 0
                if closing:
                    return

    def _sync(self, *, closing: bool) -> None:
        """Bring the store up to date; opens it first if need be."""
        trials = self._trials()
        ledger = ledger_tag(trials)
        if ledger is None:
            open_client(self._uri)  # the import and a new store's tables take seconds
            return
        if self._experiment is None:
            self._experiment = Experiment(self._uri, self._name, ledger, self._tags, self._told)
        experiment = self._experiment
        self._failing = False
        start = min(self._start, started(next(t for t in trials if t.state.is_finished())))
        if self._sampler is not None or self._told.params:
            experiment.begin_summary(start)
        for trial in trials[self._place :]:
            if self._stopped.is_set():
                return
            experiment.write(trial)
            self._place, self._mirrored = self._place + 1, experiment.count
            self._refused = experiment.refused
        self._flush(experiment)
        if closing and self._summary is not None:
            experiment.write_summary(self._summary, start)
            self._summarised = True
        elif closing:
            experiment.stop_summary()
        self._refused = experiment.refused

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
        self._failing = True
        self._errors += 1
        self._last_error = reason_of(error)
