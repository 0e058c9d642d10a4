"""The examples of a study's objectives: read, told apart, divided into splits, and recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives.data import Example, with_suffix
from objectives.errors import ObjectiveError
from objectives.images import HASHES
from objectives.reading import Reading, Taking, read_source
from objectives.records import SPLITS, Split
from objectives.rules import Roles, RowRule, plain_rule
from objectives.splitting import Division, Pool, divide
from objectives.tables import READERS
from objectives.twins import RULES, marks, why
from studies.config import ObjectiveBase, StudyConfig
from studies.data_settings import Origin, drawn_sizes, origins


@dataclass(frozen=True, slots=True)
class StudyData:
    """All examples of a study.

    Attributes:
        splits: by objective and split.
        record: what `splits.json` holds: ids, seeds, what was left out and why.
        notes: what a person must know of what was left out.
    """

    splits: Mapping[str, Mapping[Split, tuple[Example, ...]]]
    record: Mapping[str, Any]
    notes: tuple[str, ...]


def read_study_data(config: StudyConfig, folder: Path, roles: Mapping[str, Roles]) -> StudyData:
    """Read the data of all objectives and divide them.

    Args:
        config: the study.
        folder: where its file lies; local sources are relative to it.
        roles: what each kind of objective needs of an example.

    Raises:
        ObjectiveError: data that cannot be used, or splits that cannot be made.
    """
    known: dict[str, Reading] = {}
    pools = []
    for objective in config.objectives:
        rule = plain_rule(roles[objective.kind])
        readings = {
            split: _read(objective, origin, rule, folder, known)
            for split, origin in origins(objective).items()
        }
        _check_ids(objective.name, readings)
        pools.append(_pool(objective, readings))
    division = divide(pools)
    splits = {
        objective.name: {
            split: tuple(
                with_suffix(e, objective.suffix, apart=objective.suffix_apart)
                for e in division.splits[objective.name][split]
            )
            for split in SPLITS
        }
        for objective in config.objectives
    }
    notes = [note for reading in known.values() for note in reading.notes()]
    record = _record(config, division, known)
    return StudyData(splits, record, (*notes, *division.notes()))


def _read(
    objective: ObjectiveBase,
    origin: Origin,
    plain: RowRule,
    folder: Path,
    known: dict[str, Reading],
) -> Reading:
    """Read a source, unless another objective has read it in the same way."""
    source = _located(origin.source, folder)
    rule = plain if origin.preset is None else origin.preset.rule
    settings = {} if origin.preset is None else origin.preset.settings
    taking = Taking(
        columns=_columns(objective, rule),
        limit=objective.limit or settings.get("limit"),
        sample=objective.sample,
        stream=objective.stream or settings.get("stream", False),
        on_bad=objective.on_bad,
    )
    key = repr((source, origin.preset and origin.preset.name, taking, plain.required))
    if key not in known:
        known[key] = read_source(source, rule, taking)
    return known[key]


def _columns(objective: ObjectiveBase, rule: RowRule) -> Mapping[str, str]:
    """The renamed columns, without those that only another source of the objective has."""
    readers = [origin.preset.rule for origin in origins(objective).values() if origin.preset]
    elsewhere = {name for reader in readers for name in reader.columns()} - set(rule.columns())
    return {ours: theirs for ours, theirs in objective.columns.items() if ours not in elsewhere}


def _located(source: str, folder: Path) -> str:
    """A local source by its path from here, `PATH` or `PATH:SPLIT`; one of the hub as it is."""
    place, colon, split = source.partition(":")
    if (folder / source).exists():
        return str(folder / source)
    if (folder / place).exists() or Path(place).suffix in READERS:
        return f"{folder / place}{colon}{split}"
    return source


def _check_ids(name: str, readings: Mapping[str, Reading]) -> None:
    """One id must be one example, over all sources of an objective."""
    seen: dict[str, tuple[str, Example]] = {}
    for reading in readings.values():
        for example in reading.examples:
            source, first = seen.setdefault(example.id, (reading.source, example))
            if source != reading.source and not why(marks(first, "a"), marks(example, "b")):
                raise ObjectiveError(
                    f"{name}: ids must be unique, but {example.id!r} is one example in {source} "
                    f"and another in {reading.source}; put a word of its own before the ids of "
                    "each source."
                )


def _pool(objective: ObjectiveBase, readings: Mapping[str, Reading]) -> Pool:
    found = origins(objective)
    return Pool(
        objective=objective.name,
        fixed={split: readings[split].examples for split in SPLITS if split in readings},
        free=readings[""].examples if "" in readings else (),
        sizes=drawn_sizes(objective),
        within={split: o.preset.name for split, o in found.items() if o.preset is not None},
        seed=0 if objective.split is None else objective.split.seed,
    )


def _record(
    config: StudyConfig, division: Division, known: Mapping[str, Reading]
) -> dict[str, Any]:
    ids = {
        name: {split: [e.id for e in examples] for split, examples in splits.items()}
        for name, splits in division.splits.items()
    }
    return {
        "objectives": ids,
        "seeds": {o.name: 0 if o.split is None else o.split.seed for o in config.objectives},
        "hashes": {**HASHES, "version": 1},
        "rules": RULES,
        "sources": [
            {"source": r.source, "rows": r.rows, "skipped": dict(r.skipped)}
            for r in known.values()
        ],
        "dropped": [
            {
                "objective": d.objective,
                "split": d.split or "drawn",
                "id": d.id,
                "why": d.rule,
                "like": list(d.twin),
            }
            for d in division.dropped
        ],
    }
