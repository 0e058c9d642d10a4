"""What the objectives of a study file say of their data: presets, sources, sizes of splits."""

from dataclasses import dataclass, replace
from typing import Any

from merge_ops.errors import did_you_mean
from merge_ops.settings_yaml import Problems
from merge_ops.yaml_file import YamlFile
from objectives.preset import DRAWN, Preset, all_presets, find_preset
from objectives.quotas import Size
from objectives.records import SPLITS, Split
from studies.config import StudyConfig
from studies.kinds import KINDS
from studies.objective_config import ObjectiveBase


def with_presets(file: YamlFile) -> YamlFile:
    """The file with what its objectives' presets say; the file's own keys go before.

    Raises:
        UserError: a preset that does not exist, or that a study cannot score.
    """
    objectives = file.data.get("objectives")
    if not isinstance(objectives, list):
        return file
    problems: Problems = []
    filled = [_filled(i, entry, problems) for i, entry in enumerate(objectives)]
    if problems:
        raise file.error(problems)
    return replace(file, data={**file.data, "objectives": filled})


def _filled(index: int, entry: Any, problems: Problems) -> Any:
    if not isinstance(entry, dict):
        return entry
    presets = {preset.name: preset for preset in all_presets()}
    for key in ("preset", "search_on"):
        name = entry.get(key)
        if isinstance(name, str) and name not in presets:
            hint = did_you_mean(name, presets)
            text = f"there is no data set {name!r}{hint or f'; known are {list(presets)}'}"
            problems.append((("objectives", index, key), f"objectives.{index}.{key}: {text}"))
    preset = presets.get(str(entry.get("preset")))
    if preset is None:
        return entry
    reason = cannot_score(preset, entry.get("kind"))
    if reason:
        place = ("objectives", index, "preset")
        problems.append((place, f"objectives.{index}.preset: {preset.name} {reason}"))
    return {**preset_settings(preset, entry.get("kind")), **entry}


def preset_settings(preset: Preset, kind: Any = None) -> dict[str, Any]:
    """The keys of an objective that a preset stands for, as far as its kind has them."""
    settings = {
        "name": preset.name,
        "kind": preset.kind,
        "metric": preset.metric,
        "suffix": preset.suffix,
        "search_on": preset.search_on,
        **preset.settings,
    }
    config = KINDS.get(str(kind or preset.kind))
    known = set(config.model_fields) if config else set(settings)
    return {key: value for key, value in settings.items() if key in known}


def cannot_score(preset: Preset, kind: str | None = None) -> str | None:
    """Why no objective of a study can score the preset, or None."""
    kind = str(kind or preset.kind)
    config = KINDS.get(kind)
    if config is None:
        known = ", ".join(KINDS)
        return f"is of the kind {kind}, which a study cannot score yet (it scores {known})"
    if config.any_preset and preset.kind in ("generation", "choice"):
        return None
    if "metric" not in config.model_fields and preset.metric not in config.metrics:
        own = ", ".join(config.metrics)
        return f"is scored by {preset.metric}, but the kind {kind} scores by {own} alone"
    return None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where some examples of an objective come from.

    Attributes:
        source: as in the study file, or the preset's own.
        preset: how its rows are read; None for columns named after the roles.
        key: which key of `data` may name another source.
    """

    source: str
    preset: Preset | None
    key: str


def origins(config: ObjectiveBase) -> dict[str, Origin]:
    """Where each split with a source of its own comes from, and under "" the common source."""
    own = None if config.preset is None else find_preset(config.preset)
    search = own if config.search_on is None else find_preset(config.search_on)
    readers: dict[str, Preset | None] = {"selection": search, "confirm": search, "test": own}
    drawn = drawn_sizes(config)
    found: dict[str, Origin] = {}
    for split in SPLITS:
        reader = readers[split]
        named = getattr(config.data, split) or (reader.source if reader else "")
        if split not in drawn:
            found[split] = Origin(named, reader, split)
    if drawn:
        source = config.data.source or (search.source if search else "")
        found[""] = Origin(source, search, "source")
    return found


def drawn_sizes(config: ObjectiveBase) -> dict[Split, Size]:
    """The splits that are drawn from the common source, with their sizes."""
    if config.split is not None:
        return config.split.sizes()
    if config.preset is None:
        return {}
    own = find_preset(config.preset)
    sizes = DRAWN if config.search_on != own.search_on else own.split
    if config.search_on is not None:
        sizes = {split: size for split, size in sizes.items() if split != "test"}
    return {split: size for split, size in sizes.items() if getattr(config.data, split) is None}


def data_problems(config: StudyConfig) -> Problems:
    """What is wrong with the data of the objectives, each with its place in the file."""
    problems: Problems = []
    for i, objective in enumerate(config.objectives):
        drawn = drawn_sizes(objective)
        for split in drawn if objective.split else ():
            if getattr(objective.data, split) is not None:
                text = "it has a source of its own under `data`; leave one of them out"
                dotted = f"objectives.{i}.split.{split}"
                problems.append((("objectives", i, "split", split), f"{dotted}: {text}"))
        problems += [
            (("objectives", i, "data"), f"objectives.{i}.data: {_lacks(origin, split)}")
            for split, origin in origins(objective).items()
            if not origin.source
        ]
        if objective.data.source is not None and not drawn:
            text = "no split is drawn from it; say by `split` how many each gets"
            dotted = f"objectives.{i}.data.source"
            problems.append((("objectives", i, "data"), f"{dotted}: {text}"))
    return problems


def _lacks(origin: Origin, split: str) -> str:
    if origin.preset is not None:
        return f"{origin.preset.name} is not on the hub; name a copy: {origin.preset.note}"
    if not split:
        return "`split` needs a source: `data: PATH`"
    return (
        f"the key {split!r} is required; or name one source with `data: PATH` and "
        "`split: {selection: 400, confirm: 200, test: rest}`"
    )
