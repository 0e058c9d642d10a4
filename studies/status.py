"""How a study stands, read from its folder alone while it runs, after its end or after a crash."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from objectives.statistics import Interval, interval
from search.feasibility import order, value_of
from search.racing import STOPPED
from studies.about import read_about, score_sets
from studies.holder import Holder, holder
from studies.journal import GLOBAL, JOURNAL, SEARCH, has_ledger, read_ledger
from studies.mistaken import no_study
from studies.paths import RESULTS, TEST_READS
from studies.place import PLACE
from studies.trial_facts import scores_of, spent

_RECENT = 20  # trials by which the pace is told


@dataclass(frozen=True, slots=True)
class Status:
    """How a study stands.

    Attributes:
        folder: the study's.
        state: "running", "finished", "stopped" or "not begun".
        holder: the process that runs it, if one does.
        torn: the journal ends in half a line.
        about: as `studies.about.read_about` gives it.
        searches: finished trials by the name of the search.
        best: the best trial of the study's own search so far.
        best_interval: of its score on the selection split; None where too little is known.
        left_s: seconds until the searches end, roughly; None where it cannot be told.
        test_reads: how often the test split was read.
        found: of a study that has finished, the recipe that it chose: its `trial`, and its `test`
            score with the interval; None before.
    """

    folder: Path
    state: str
    holder: Holder | None
    torn: bool
    about: Mapping[str, Any]
    searches: Mapping[str, Sequence[FrozenTrial]]
    best: FrozenTrial | None
    best_interval: Interval | None
    left_s: float | None
    test_reads: int
    found: Mapping[str, Any] | None

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """The finished trials of the study's own search."""
        return self.searches.get(SEARCH, [])

    def last(self, count: int) -> Sequence[FrozenTrial]:
        """So many of the last trials, in order."""
        return self.trials[max(0, len(self.trials) - count) :]

    def failures(self) -> dict[str, int]:
        """How many trials failed for each reason, the most frequent first."""
        reasons = Counter(
            str(trial.user_attrs.get("reason", "unknown"))
            for trials in self.searches.values()
            for trial in trials
            if value_of(trial) is None
        )
        return dict(reasons.most_common())


def read_status(folder: Path, now: float | None = None) -> Status:
    """How the study of a folder stands; nothing is written.

    Args:
        folder: the study's.
        now: seconds since 1970, for the time that is left of a budget of time.

    Raises:
        UserError: the folder is no study's, or its ledger cannot be read.
    """
    own, about, begun = holder(folder), read_about(folder), has_ledger(folder)
    if not begun and not about and own is None:
        text = f"a study's folder holds {JOURNAL} or {PLACE}, but this one does not."
        raise no_study(folder, text)
    # The lock is looked at first: a study that ends meanwhile is said to run, not to have failed.
    content = read_ledger(folder) if begun else None
    searches = {} if content is None else content.searches
    trials = searches.get(SEARCH, [])
    best = best_of(trials)
    sets = None if best is None else score_sets(about, scores_of(best))
    ended, found = _results(folder / RESULTS)
    state = _state(ended, own, trials)
    return Status(
        folder=folder,
        state=state,
        holder=own,
        torn=content is not None and content.torn,
        about=about,
        searches=searches,
        best=best,
        best_interval=interval(sets) if sets else None,
        left_s=None if own is None else _left(about, searches, own, now),
        test_reads=count_lines(folder / TEST_READS),
        found=found if state == "finished" else None,
    )


def best_of(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The trial of the highest score, the first of several; None where none has one.

    One that was stopped by racing does not count beside those that were scored in full, nor one
    that breaks a guard beside those that hold them.
    """
    scored = [trial for trial in trials if value_of(trial) is not None]
    whole = [trial for trial in scored if STOPPED not in trial.user_attrs]
    return min(whole or scored, key=order, default=None)


def count_lines(path: Path) -> int:
    """Lines of a log; 0 where there is none."""
    return len(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else 0


def _state(ended: int, own: Holder | None, trials: Sequence[FrozenTrial]) -> str:
    if own is not None:
        return "running"
    if ended >= len(trials) > 0:
        return "finished"
    return "stopped" if trials else "not begun"


def _results(path: Path) -> tuple[int, dict[str, Any] | None]:
    """After how many trials the study last ended (0 if it has not), and what it found."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ended = int(content["trials"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, None
    try:
        return ended, {"trial": content["winner"]["trial"], "test": content["rows"][-1]["score"]}
    except (KeyError, TypeError, IndexError):
        return ended, None


def _left(
    about: Mapping[str, Any],
    searches: Mapping[str, Sequence[FrozenTrial]],
    own: Holder,
    now: float | None,
) -> float | None:
    """Whichever budget ends first: of trials, by the pace of the last ones, or of time."""
    now = datetime.now().timestamp() if now is None else now
    ends = []
    budget = about.get("trials")
    if budget is not None and searches.get(SEARCH):
        names = (SEARCH, GLOBAL)[: about.get("searches", 1)]
        to_do = sum(max(0, budget - len(searches.get(name, []))) for name in names)
        recent = [*searches[SEARCH], *searches.get(GLOBAL, [])][-_RECENT:]
        ends.append(to_do * sum(map(spent, recent)) / len(recent))
    if about.get("timeout_s") is not None and own.since is not None:
        ends.append(max(0.0, own.since + about["timeout_s"] - now))
    return min(ends, default=None)
