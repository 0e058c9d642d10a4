"""The study's side of its tracker: MLflow never holds the study up."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from optuna.trial import FrozenTrial

from studies.particulars import Particulars
from studies.secrets import without_secrets
from studies.tracker_process import TrackerDiedError, TrackerProcess
from studies.tracking_summary import Summary
from studies.tracking_wire import (
    GIVE_UP,
    Answer,
    Ask,
    Progress,
    Question,
    Task,
    pause_after,
)

_AT_ONCE = 10  # trials in an answer
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


class Host(Protocol):
    """Where a tracker runs."""

    def work(self, task: Task, answers: Ask) -> None:
        """Run it until it is over."""

    def kill(self) -> None:
        """End it at once."""


class Mirror:
    """Lets a tracker copy finished trials to MLflow, in a process of its own.

    The store may be slow, hang, refuse or vanish, and the process may die: the study neither waits
    nor fails. What was missed is filled in as soon as the store answers, or by `mergetuna sync`.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        trials: Callable[[], Sequence[FrozenTrial]],
        tags: Mapping[str, str],
        *,
        system: bool = False,
        host: Host | None = None,
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            uri: an MLflow tracking address.
            experiment: the study's name.
            trials: returns the ledger's finished trials so far, of which there are ever more;
                called from a thread.
            tags: for every run.
            system: sample how busy the machine is, into the run `summary`.
            host: where the tracker runs, if not in a process of its own.
        """
        self._task = Task(uri, experiment, dict(tags), system, int(time.time() * 1000))
        self._trials = trials
        self._news, self._closing, self._stopped = (threading.Event() for _ in range(3))
        self._summary: Summary | None = None
        self._progress = Progress()
        self._begun = time.monotonic()
        self._told = Particulars()
        self._host = TrackerProcess() if host is None else host
        self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)

    def start(self) -> None:
        """Begin; trials that the ledger holds already are mirrored too."""
        self._thread.start()

    def describe(self, told: Particulars) -> None:
        """Say what the study is, before its first trial is told."""
        self._told = told
        self._news.set()

    def notify(self) -> None:
        """Tell that the ledger has grown; returns at once."""
        self._news.set()

    def finish(self, timeout_s: float, summary: Summary | None = None) -> Status:
        """Let the tracker catch up, write the summary and end.

        Args:
            timeout_s: it is ended after so many seconds; sooner, if the store failed last.
            summary: what the study came to, or None if it was cut short.
        """
        now = time.monotonic()
        doubt = min(timeout_s, max(_LEAST_S, _SHARE * (now - self._begun)))
        self._summary = summary
        self._closing.set()
        self._news.set()
        while self._thread.is_alive():
            left = now + (doubt if self._progress.failing else timeout_s) - time.monotonic()
            if left <= 0:
                break
            self._thread.join(min(left, 0.1))
        self._stopped.set()
        self._host.kill()
        return self.status()

    def status(self) -> Status:
        """How far the tracker is."""
        finished, progress = len(self._trials()), self._progress
        complete = progress.mirrored >= finished and (self._summary is None or progress.summarised)
        address = without_secrets(self._task.uri)
        told = (progress.errors, progress.last_error, progress.refused)
        return Status(address, progress.mirrored, finished, complete, *told)

    def _run(self) -> None:
        """Let the tracker work; a new one takes the place of one that died."""
        for deaths in count(1):
            try:
                self._host.work(replace(self._task, progress=self._progress), self._answer)
            except TrackerDiedError as death:
                if self._stopped.is_set():
                    return
                so_far = self._progress
                self._progress = replace(
                    so_far, failing=False, errors=so_far.errors + 1, last_error=str(death)
                )
                if self._closing.is_set() and deaths >= GIVE_UP:
                    return
                self._pause(pause_after(deaths))
            else:
                return

    def _answer(self, question: Question) -> Answer:
        """Hear the tracker, wait for news and tell them."""
        self._progress = question.progress
        if question.pause_s is not None:
            self._pause(question.pause_s)
        elif question.place >= len(self._trials()) and not question.over:
            over = self._closing.is_set()
            self._news.wait(0.0 if over else _FLUSH_S if self._task.system else None)
        self._news.clear()
        if self._stopped.is_set():
            raise EOFError("the study waits no longer")
        closing = self._closing.is_set()  # before the trials, of which no more come after it
        trials = self._trials()
        until = question.place + _AT_ONCE
        return Answer(
            trials=trials[question.place : until],
            more=until < len(trials),
            told=None if question.place else self._told,
            closing=closing,
            summary=self._summary if closing else None,
        )

    def _pause(self, seconds: float) -> None:
        """Leave the store alone, less long where the study is over."""
        over = self._closing.is_set()
        (self._stopped if over else self._closing).wait(1.0 if over else seconds)
