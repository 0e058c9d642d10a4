"""What a finished trial of the ledger says of itself."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from search.feasibility import value_of
from search.naming import WARM
from search.racing import STOPPED

ITEMS, MEMORY = "items", "memory"
"""Attributes of a trial: how many items it was scored on, and the most bytes held for it."""
GUARDS, FRONT = "guards", "front"
"""Attributes of a trial: how it stands to each guard, and the names of its several values."""
COPY_OF = "copy_of"
"""Attribute of a trial that took the outcome of an earlier one of the same recipe: its number."""
SEEDS = "seeds"
"""Attribute of a trial: over how many seeds of masks its scores are means; 1 if not there."""


def first_sampler(trials: Sequence[FrozenTrial]) -> str | None:
    """Who proposed the first trial that is no warm start; None before there is one."""
    sources = (str(trial.user_attrs.get("source", WARM)) for trial in trials)
    return next((source for source in sources if source != WARM), None)


def is_copy(trial: FrozenTrial) -> bool:
    """Whether a trial took another's outcome instead of being scored."""
    return COPY_OF in trial.user_attrs


def guards_of(trial: FrozenTrial) -> Mapping[str, Mapping[str, Any]]:
    """By guard: its standing, the constraint, and the interval of the difference to the parent."""
    guards: Mapping[str, Mapping[str, Any]] = trial.user_attrs.get(GUARDS, {})
    return guards


def standing_of(trial: FrozenTrial) -> str:
    """How a trial stands to its guards, in a word for each; empty if it has none."""
    guards = guards_of(trial)
    words = {str(own["standing"]) for own in guards.values()}
    if len(words) == 1:
        return words.pop()
    return ", ".join(f"{name} {own['standing']}" for name, own in guards.items())


def named_values(trial: FrozenTrial) -> dict[str, float]:
    """Its values by what they are of; "score" where it has one alone; empty if it failed."""
    names = trial.user_attrs.get(FRONT, ["score"])
    return dict(zip(names, trial.values or (), strict=False))


Stored = Mapping[str, Sequence[float | None]]
"""Scores by objective in the order of the data; None for what was not scored."""


def scores_of(trial: FrozenTrial) -> Stored:
    """Per-example scores on the selection split, as the ledger keeps them; empty if none."""
    found: Stored = json.loads(trial.user_attrs.get("scores", "{}"))
    return found


def scores_text(scores: Stored) -> str:
    """Scores as the ledger keeps them, whole ones without a fraction: most are 0 or 1."""
    brief = {
        name: [int(one) if one is not None and one == int(one) else one for one in values]
        for name, values in scores.items()
    }
    return json.dumps(brief, separators=(",", ":"))


def examples_of(trial: FrozenTrial) -> int:
    """How many examples it was scored on; a stopped one on fewer than others, a copy on none."""
    if ITEMS in trial.user_attrs:
        return int(trial.user_attrs[ITEMS])
    return _counted(trial)


def _counted(trial: FrozenTrial) -> int:
    """The same of a trial that does not say so: older ledgers' do not."""
    if is_copy(trial):
        return 0
    stopped = trial.user_attrs.get(STOPPED)
    if stopped is not None:
        return int(stopped)
    return _lengths(trial.user_attrs.get("scores", "{}")) * int(trial.user_attrs.get(SEEDS, 1))


@lru_cache(maxsize=100_000)
def _lengths(scores: str) -> int:
    """Counted once a trial: the limits of a search are asked before each."""
    return sum(map(len, json.loads(scores).values()))


def listed_values(trials: Sequence[FrozenTrial]) -> list[str]:
    """Names of what a search takes from lists of values."""
    kinds = trials[0].distributions if trials else {}
    return [name for name, kind in kinds.items() if isinstance(kind, CategoricalDistribution)]


def figures_of(trial: FrozenTrial) -> Mapping[str, float]:
    """Its score on each objective, and by category under "objective/category"."""
    figures: Mapping[str, float] = trial.user_attrs.get("figures", {})
    return figures


def spent(trial: FrozenTrial) -> float:
    """Seconds that it took, all phases together."""
    return float(sum(trial.user_attrs.get("seconds", {}).values()))


def _moment(local: datetime | None) -> str | None:
    """In UTC, as events of a run tell it."""
    return None if local is None else local.astimezone(UTC).isoformat(timespec="milliseconds")


def record(trial: FrozenTrial) -> dict[str, Any]:
    """The trial as plain data, for scripts; without its per-example scores."""
    value = value_of(trial)
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": value,
        "values": trial.values,
        "guards": dict(guards_of(trial)),
        "figures": dict(figures_of(trial)),
        "params": trial.params,
        "began": _moment(trial.datetime_start),
        "ended": _moment(trial.datetime_complete),
        "seconds": trial.user_attrs["seconds"],
        "memory": trial.user_attrs.get(MEMORY),
        "items": examples_of(trial),
        "source": trial.user_attrs["source"],
        "digest": trial.user_attrs["digest"],
        "reason": trial.user_attrs.get("reason"),
        "stopped_after": trial.user_attrs.get(STOPPED),
        "copy_of": trial.user_attrs.get(COPY_OF),
    }
