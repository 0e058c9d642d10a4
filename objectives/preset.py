"""Names to published data sets: every module of objectives/presets describes some."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from objectives.errors import ObjectiveError, nearest
from objectives.quotas import Size
from objectives.records import Split
from objectives.rules import RowRule

DRAWN: Mapping[Split, Size] = {"selection": 400, "confirm": 200, "test": "rest"}
"""How one source becomes three splits where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A published data set, as a study can name it.

    Attributes:
        name: in a study file.
        source: where it is on the hub, or empty where there is no such place.
        kind: of the objective.
        metric: how an answer becomes a score.
        rule: how a row becomes an example; its columns are the data set's own.
        citation: where it is defined.
        suffix: what stands behind every question.
        split: sizes of the splits that are drawn from one source.
        search_on: the preset that selection and confirm are drawn from, if this one is for test
            only.
        settings: further keys of the objective.
        note: what a user must know.
    """

    name: str
    source: str
    kind: str
    metric: str
    rule: RowRule
    citation: str
    suffix: str = ""
    split: Mapping[Split, Size] = field(default_factory=lambda: DRAWN)
    search_on: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@cache
def all_presets() -> tuple[Preset, ...]:
    """Every preset, by name."""
    from objectives import presets

    modules = sorted(module.name for module in pkgutil.iter_modules(presets.__path__))
    found = [
        preset
        for name in modules
        for preset in importlib.import_module(f"objectives.presets.{name}").PRESETS
    ]
    return tuple(sorted(found, key=lambda preset: preset.name))


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ObjectiveError: there is none.
    """
    known = {preset.name: preset for preset in all_presets()}
    if name not in known:
        hint = nearest(name, known) or f"; known are {', '.join(known)}"
        raise ObjectiveError(f"there is no preset {name!r}{hint}")
    return known[name]
