"""Writing a study file from Python's own values."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RepresenterError

from merge_ops.atomic import write_text
from merge_ops.errors import UserError, first_line
from studies.setup import read_study


def write_study_file(content: Mapping[str, Any], path: Path, *, overwrite: bool) -> None:
    """Write the content as YAML, unless the file holds it already.

    Args:
        content: of a study file; mappings, lists, texts, numbers.
        path: of the file.
        overwrite: replace other content.

    Raises:
        UserError: the content is no study's, or another file is there and may not be replaced.
    """
    stream, yaml = StringIO(), YAML()  # keeps the order
    try:
        yaml.dump(dict(content), stream)
    except RepresenterError as error:
        raise UserError(
            f"{path}: a study is made of mappings, lists, texts, numbers, true, false and null, "
            f"but {first_line(error)}."
        ) from None
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    if before == stream.getvalue():
        return
    if before is not None and not overwrite:
        raise UserError(
            f"{path}: there is another study file already; read it with Study({str(path)!r}), or "
            "pass overwrite=True."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, stream.getvalue())
    try:
        read_study(path)
    except UserError:
        if before is None:
            path.unlink()
        else:
            write_text(path, before)
        raise
