"""The `statistics:` key of a recipe: a file and its sha256, checked before any model is read."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from merge_ops.method import Method
from merge_ops.recipe import StatisticsRef
from merge_ops.references import relative
from merge_ops.settings_yaml import Problems
from merge_ops.statistics_file import KEY, file_sha256, header_misfit, read_header
from merge_ops.yaml_file import YamlFile


class StatisticsBlock(BaseModel):
    """Which statistics the method takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def read_statistics(
    file: YamlFile, block: StatisticsBlock | None, op: Method, models: int, problems: Problems
) -> StatisticsRef | None:
    """Check the file that a recipe names.

    Args:
        file: the recipe's; the statistics' path is relative to its folder.
        block: the key's content, or None where the recipe has none.
        op: the recipe's method.
        models: how many models the recipe merges.
        problems: what is wrong is appended here.
    """
    key = tuple(KEY.split("."))
    if block is None:
        if op.traits.statistics:
            text = f"merge_method: {op.name} needs {KEY}, which `mergetuna statistics` collects"
            problems.append((("merge_method",), text))
        return None
    if op.traits.statistics is None:
        problems.append((key, f"{KEY}: {op.name} takes no statistics; drop the key"))
        return None
    path = (file.path.parent / block.file).resolve()
    if not path.is_file():
        problems.append(((*key, "file"), f"{KEY}.file: there is no file {block.file!r}"))
        return None
    found = file_sha256(path)
    if found != block.sha256:
        text = f"{KEY}.sha256: {block.file} must have this sum, but has {found}"
        problems.append(((*key, "sha256"), text))
        return None
    try:
        misfit = header_misfit(read_header(path), op, models)
    except ValueError as error:
        misfit = str(error)
    if misfit:
        problems.append(((*key, "file"), f"{KEY}.file: {block.file}: {misfit}"))
    line, column = file.where((*key, "file"))
    return StatisticsRef(str(path), block.sha256, f"{file.path}:{line}:{column}")


def dump_statistics(ref: StatisticsRef | None, folder: Path) -> dict[str, dict[str, str]]:
    """The key as it is written to a recipe in `folder`, or nothing."""
    if ref is None:
        return {}
    path, here = Path(ref.path), folder.resolve()
    beside = path.is_relative_to(here)
    name = path.relative_to(here).as_posix() if beside else relative(ref.path, folder)
    return {"statistics": {"file": name, "sha256": ref.sha256}}
