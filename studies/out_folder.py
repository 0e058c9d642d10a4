"""Where a study writes, checked against everything that it reads before anything runs."""

from collections.abc import Iterator
from pathlib import Path

from merge_ops.overwriting import harm
from merge_ops.recipe import Recipe
from merge_ops.settings_yaml import Problems
from studies.config import StudyConfig, WarmRecipe, WarmStudy
from studies.data_settings import origins


def out_folder(config: StudyConfig, folder: Path) -> Path:
    """The study's folder; without `out` it lies under `runs`, beside the file."""
    return folder / (config.out or f"runs/{config.name}")


def out_problems(config: StudyConfig, path: Path, template: Recipe) -> Problems:
    """What is wrong with the study's folder.

    Args:
        config: the study's content.
        path: the study file.
        template: gives the models, located.
    """
    key = "name" if config.out is None else "out"
    out = out_folder(config, path.parent)
    if str(config.out).startswith("~"):
        return [(("out",), "out: must be a path relative to this file, or absolute, without ~")]
    lost = harm(out, inputs(config, path, template), template.references())
    if lost is None:
        return []
    return [((key,), f"{key}: a study has a folder of its own, but for {str(out)!r} {lost}")]


def inputs(config: StudyConfig, path: Path, template: Recipe) -> Iterator[Path]:
    """Files and folders that the study reads besides its models."""
    folder = path.parent
    yield path
    if template.template not in {"target", "reward_head"}:
        yield Path(template.template)
    for objective in config.objectives:
        for origin in origins(objective).values():
            yield from _local(folder, origin.source)
    for entry in config.warm_start:
        if isinstance(entry, WarmRecipe):
            yield from _local(folder, entry.recipe)
        elif isinstance(entry, WarmStudy):
            yield from _local(folder, entry.study)


def _local(folder: Path, source: str) -> list[Path]:
    """A source's path, if it is one: `PATH` or `PATH:SPLIT`."""
    names = [source, source.rpartition(":")[0]] if source else []
    return [folder / name for name in names if name and (folder / name).exists()][:1]
