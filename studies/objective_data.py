"""The examples of a study's objectives: read, told apart, divided into splits, and recorded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from objectives.data import Example, with_suffix
from objectives.errors import ObjectiveError
from objectives.harness import HARNESS, read_documents
from objectives.images import HASHES
from objectives.reading import Reading, Taking, read_source
from objectives.records import SPLITS, Split
from objectives.rules import Roles, RowRule, plain_rule
from objectives.splitting import Division, Pool, divide
from objectives.tables import READERS
from objectives.twins import RULES, marks, why
from studies.config import StudyConfig
from studies.data_settings import Origin, drawn_sizes, origins
from studies.objective_config import ObjectiveBase

RolesOf = Mapping[str, Callable[[Any], Roles]]
"""What each kind of objective needs of an example, by its config."""


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


def read_study_data(config: StudyConfig, folder: Path, roles: RolesOf) -> StudyData:
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
    fitting: list[str] = []
    for objective in config.objectives:
        needs = roles[objective.kind](objective)
        rule = plain_rule(needs)
        readings = {}
        for split, origin in origins(objective).items():
            reading = _read(objective, origin, rule, folder, known)
            readings[split] = _fitted(objective, needs, reading, fitting)
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
    return StudyData(splits, record, (*notes, *fitting, *division.notes()))


def _fitted(objective: ObjectiveBase, needs: Roles, reading: Reading, notes: list[str]) -> Reading:
    """The examples that the objective can score, in the categories that it asks for.

    A data set that mixes questions with and without options gives a choice only the former.
    """
    examples = reading.examples
    if "options" in needs.lists:
        examples = tuple(e for e in examples if e.lists.get("options"))
        left_out = len(reading.examples) - len(examples)
        if not examples:
            raise ObjectiveError(f"{objective.name}: {reading.source}: no example has options.")
        if left_out:
            notes.append(
                f"{objective.name}: {reading.source}: left out {left_out} of "
                f"{len(reading.examples)} examples, which have no options"
            )
    if objective.categories is not None:
        examples = tuple(_grouped(objective.name, e, objective.categories) for e in examples)
    return replace(reading, examples=examples)


def _grouped(name: str, example: Example, group: str) -> Example:
    if group not in example.groups:
        known = ", ".join(example.groups) or "none"
        raise ObjectiveError(
            f"{name}: categories: example {example.id} has no group {group!r}; it has {known}."
        )
    return replace(example, category=example.groups[group])


def _read(
    objective: ObjectiveBase,
    origin: Origin,
    plain: RowRule,
    folder: Path,
    known: dict[str, Reading],
) -> Reading:
    """Read a source, unless another objective has read it in the same way."""
    if origin.source.startswith(HARNESS):
        return _documents(objective, origin.source, folder, known)
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


def _documents(
    objective: ObjectiveBase, source: str, folder: Path, known: dict[str, Reading]
) -> Reading:
    """The documents of a task of lm-evaluation-harness."""
    own: str | None = getattr(objective, "tasks_folder", None)
    examples = read_documents(source.removeprefix(HARNESS), str(folder / own) if own else None)
    examples = examples[: objective.limit]  # None is all
    known[source] = Reading(source, examples, len(examples), {}, {})
    return known[source]


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
