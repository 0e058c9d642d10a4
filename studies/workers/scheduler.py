"""Who scores what next: its own candidate, an orphan, a new one, or a part of another's."""

from collections.abc import Callable
from dataclasses import dataclass, field

from studies.workers.job import Job
from studies.workers.protocol import Done, Event, Lost, Piece, Refused, Workers

_TICK = 1.0  # seconds between two looks at what hangs
_PATIENCE, _FACTOR = 60.0, 10.0
_AT_FIRST = 3600.0  # until a block was scored: prompts are captured, kernels compiled
AT_ONCE = 20.0  # seconds of blocks that are given at once, and so may be lost at once


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a block may take before its worker is taken to hang.

    Attributes:
        at_first: seconds for a worker's first block.
        least: seconds for any other, and `factor` times the longest so far beside.
        factor: see there.
    """

    at_first: float = _AT_FIRST
    least: float = _PATIENCE
    factor: float = _FACTOR


@dataclass(slots=True)
class _Given:
    """What a worker is at: the pieces left, how many there were, and since when."""

    pieces: list[Piece]
    size: int
    begun: float


@dataclass(slots=True)
class Scheduler:
    """Keeps workers busy with the pieces of jobs.

    A worker goes on with the candidate that is written in its model. One that has none takes a
    candidate whose worker is gone, then asks for a new one. Where no new one is to be had, it
    helps: the candidate with the most pieces left gives one away. While there are jobs for all
    workers, one gets as many pieces at once as take 20 seconds, if nothing can stop them.

    Attributes:
        workers: who scores.
        patience: with those that are slow.
    """

    workers: Workers
    patience: Patience = field(default_factory=Patience)
    _open: dict[int, Job] = field(default_factory=dict)
    _own: dict[str, int] = field(default_factory=dict)
    _at: dict[str, _Given] = field(default_factory=dict)
    _warm: set[str] = field(default_factory=set)
    _orphans: set[int] = field(default_factory=set)
    _longest: float = 0.0
    _watched: float = float("-inf")

    def run(
        self,
        source: Callable[[], Job | None],
        ended: Callable[[Job], None],
        halted: Callable[[], bool] = lambda: False,
        plenty: Callable[[int], bool] = lambda _: False,
    ) -> None:
        """Score jobs until there are no more.

        Args:
            source: the next job; None while there is none. It is asked again when a job has ended.
                It may itself have jobs scored by `run`, but only while none of these is open.
            ended: told each job as it ends.
            halted: true if nothing further is to be given away; what runs is waited for, and
                jobs that are not over then are forgotten.
            plenty: whether there will be so many jobs beside those that were given out.

        Raises:
            UserError: no worker is left, and none can be had.
            RuntimeError: called while jobs of another call are open.
        """
        if self._open:
            raise RuntimeError(f"{len(self._open)} jobs are being scored already")
        try:
            self._run(source, ended, halted, plenty)
        finally:
            self._open.clear()
            self._own.clear()

    def _run(
        self,
        source: Callable[[], Job | None],
        ended: Callable[[Job], None],
        halted: Callable[[], bool],
        plenty: Callable[[int], bool],
    ) -> None:
        dry = False
        while True:
            over = halted()
            if not over:
                dry = self._assign(source, ended, plenty, dry=dry)
            if (over and not self._at) or (dry and not self._open):
                return
            for event in self.workers.events(_TICK):
                job = self._on(event)
                if job is not None and self._close(job, ended):
                    dry = False
            self._watch()

    def _assign(
        self,
        source: Callable[[], Job | None],
        ended: Callable[[Job], None],
        plenty: Callable[[int], bool],
        *,
        dry: bool,
    ) -> bool:
        """Give every idle worker pieces, if there are some; returns whether the source is dry."""
        for worker in self.workers.idle():
            piece = self._owned(worker)
            while piece is None and not dry:
                job = source()
                if job is None:
                    dry = True
                    break
                self._open[job.number] = job
                if self._close(job, ended):  # all of it was kept by an earlier run
                    continue
                piece = job.next()
            piece = piece or self._help()
            if piece is None:
                break
            if worker not in self.workers.idle():  # it died while the source had others work
                self._orphans.add(piece.job)
                continue
            many = not dry and plenty(len(self._at) + len(self.workers.idle()))
            self._give(worker, self._open[piece.job], self._at_once() if many else 1)
        return dry

    def _give(self, worker: str, job: Job, count: int) -> None:
        pieces = job.few(count)
        for piece in pieces:
            job.give(piece)
        self._own[worker] = job.number
        self._at[worker] = _Given(list(pieces), len(pieces), self.workers.now())
        self.workers.give(worker, pieces)

    def _at_once(self) -> int:
        """How many pieces a worker gets, by the longest so far."""
        return max(1, int(AT_ONCE / self._longest)) if self._longest else 1

    def _owned(self, worker: str) -> Piece | None:
        """The next piece of the worker's own candidate, or of one whose workers are gone."""
        own = self._open.get(self._own.get(worker, -1))
        piece = own.next() if own else None
        if piece is not None:
            return piece
        self._orphans &= self._open.keys()
        if not self._orphans:
            return None
        left = sorted(self._orphans - set(self._own.values()))
        orphans = (self._open[number].next() for number in left)
        return next((piece for piece in orphans if piece is not None), None)

    def _help(self) -> Piece | None:
        """A piece of the candidate with the most left; of the oldest among equals."""
        jobs = [job for job in self._open.values() if job.waiting()]
        return max(jobs, key=Job.waiting).next() if jobs else None

    def _on(self, event: Event) -> Job | None:
        """Take note of an event; returns the job that it changed."""
        given = self._at.get(event.worker)
        if given is None:
            return None
        job = self._open.get(given.pieces[0].job)
        match event:
            case Done(worker, done, answer):
                each = (self.workers.now() - given.begun) / given.size
                self._longest = max(self._longest, each)
                self._warm.add(worker)
                given.pieces.remove(done)
                if job:
                    job.take(done, answer)
                if given.pieces:
                    return job
            case Refused(_, _, reason):
                if job:
                    job.fail(reason)
            case Lost(_, _, reason):
                self._lose(event.worker, job, given, reason)
        del self._at[event.worker]
        return job

    def _lose(self, worker: str, job: Job | None, given: _Given, reason: str) -> None:
        self._own.pop(worker, None)
        self._warm.discard(worker)
        if job:
            job.lose(given.pieces, reason)
            self._orphans.add(job.number)

    def _close(self, job: Job, ended: Callable[[Job], None]) -> bool:
        """Report a job that is over."""
        if not job.over or job.number not in self._open:
            return False
        del self._open[job.number]
        ended(job)
        return True

    def _watch(self) -> None:
        """End workers that are at a piece for much longer than any took."""
        now = self.workers.now()
        if now - self._watched < _TICK:
            return
        self._watched = now
        usual = max(self.patience.least, self.patience.factor * self._longest)
        for worker, given in list(self._at.items()):
            allowed = usual if worker in self._warm else max(usual, self.patience.at_first)
            if now - given.begun > allowed * given.size:
                self.workers.drop(worker, f"no word of a block for {now - given.begun:.0f} s")
