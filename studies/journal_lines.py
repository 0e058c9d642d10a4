"""Lines of a study's journal, in the words of Optuna's own storage, which reads and shows them."""

import json
import os
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages.journal._storage import JournalOperation
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Line = Mapping[str, Any]
CLAIM = "study"
"""Attribute of a search: the digest of the study that fills it."""
SAMPLER = "sampler"
"""Attribute of a search: with which sampler it began, whatever its budget is later."""
_KINDS, _BEHIND = b'"distributions":', b',"params":'


def search_line(name: str, values: int) -> Line:
    """Begins a search whose trials have so many values, all to be as large as possible."""
    directions = [StudyDirection.MAXIMIZE] * values
    return _line(JournalOperation.CREATE_STUDY, {"study_name": name, "directions": directions})


def attribute_line(search: int, name: str, value: str) -> Line:
    """Says `CLAIM` or `SAMPLER` of a search; searches are counted as they were begun."""
    facts = {"study_id": search, "user_attr": {name: value}}
    return _line(JournalOperation.SET_STUDY_USER_ATTR, facts)


def trial_line(search: int, trial: FrozenTrial) -> Line:
    """A whole trial; parameters stand in their internal form, as Optuna calls it."""
    one = trial.values is None or len(trial.values) == 1
    kinds = trial.distributions
    facts = {
        "study_id": search,
        "datetime_start": _utc(trial.datetime_start),
        "state": trial.state,
        "value": trial.value if one else None,
        "values": None if one else trial.values,
        "datetime_complete": _utc(trial.datetime_complete),
        "distributions": {name: distribution_to_json(kind) for name, kind in kinds.items()},
        "params": {name: kinds[name].to_internal_repr(v) for name, v in trial.params.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": {},
    }
    return _line(JournalOperation.CREATE_TRIAL, facts)


def _line(kind: JournalOperation, facts: Line) -> Line:
    return {"op_code": kind, "worker_id": _writer(os.getpid()), **facts}


@cache
def _writer(pid: int) -> str:
    return f"{uuid.uuid4()}-{pid}"


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


def parsed(text: bytes) -> Line:
    """A line as plain data, but for what its parameters may be: distributions by name.

    Those are most of a trial's line and the same in all of a search: they are taken out of the
    text, read once, and shared by the trials.

    Raises:
        ValueError: it is no JSON.
    """
    begin = text.find(_KINDS)
    end = text.find(_BEHIND, begin)
    if 0 < begin < end:
        begin += len(_KINDS)
        try:
            kinds = _distributions(text[begin:end])
        except ValueError:
            pass  # another order, or a name that looks like a key
        else:
            entry: dict[str, Any] = json.loads(text[:begin] + b"null" + text[end:])
            entry["distributions"] = kinds
            return entry
    whole: Any = json.loads(text)
    if isinstance(whole, dict) and "distributions" in whole:
        whole["distributions"] = _distributions(json.dumps(whole["distributions"]).encode())
    return whole  # type: ignore[no-any-return]


@lru_cache(maxsize=100)
def _distributions(text: bytes) -> dict[str, BaseDistribution]:
    try:
        return {name: json_to_distribution(kind) for name, kind in json.loads(text).items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it describes no parameters: {error!r}") from None


def trial_of(entry: Line, number: int) -> FrozenTrial:
    """The trial of a parsed line, the so-many-th of its search.

    Raises:
        KeyError, TypeError, ValueError: it is no whole trial.
    """
    kinds, values, raw = entry["distributions"], entry.get("values"), entry["params"]
    if raw.keys() != kinds.keys():
        raise ValueError(f"parameters {list(raw)} are not those described, {list(kinds)}")
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState(entry["state"]),
        value=None if values is not None else entry.get("value"),
        values=values,
        datetime_start=_moment(entry.get("datetime_start")),
        datetime_complete=_moment(entry.get("datetime_complete")),
        params={name: kind.to_external_repr(raw[name]) for name, kind in kinds.items()},
        distributions=kinds,
        user_attrs=_sharing_names(dict(entry["user_attrs"])),
        system_attrs=entry["system_attrs"],
        intermediate_values={},
    )


def _sharing_names(facts: dict[str, Any]) -> dict[str, Any]:
    """The same, with names that all trials hold in common."""
    return {
        sys.intern(name): _sharing_names(fact) if isinstance(fact, dict) else fact
        for name, fact in facts.items()
    }


def _moment(text: str | None) -> datetime | None:
    """In local time without a zone, as Optuna gives it."""
    return None if text is None else datetime.fromisoformat(text).astimezone().replace(tzinfo=None)
