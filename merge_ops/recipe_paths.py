"""A recipe's text as it reads wherever it is put: every relative path in it made absolute."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from merge_ops.references import locate
from merge_ops.yaml_file import read_yaml

_BLOCK = "mergetuna"


def text_for_anywhere(path: Path) -> str:
    """The recipe in a file, with absolute paths; hub ids, comments and all else stay.

    A model that is not there keeps the name that the file has for it. Nothing is loaded: this
    takes a hundredth of the time of reading the recipe itself.

    Args:
        path: the file.

    Raises:
        UserError: it is no YAML.
    """
    from ruamel.yaml import YAML

    tree = read_yaml(path).tree
    for node, key in _models(tree):
        if isinstance(node.get(key), str):
            node[key] = _located(node[key], path.parent)
    for node, key in _files(tree):
        name = node.get(key)
        if isinstance(name, str) and name not in {"target", "reward_head"}:
            node[key] = str((path.parent / name).resolve())
    yaml, stream = YAML(typ="rt", pure=True), StringIO()
    yaml.width = 4096  # as recipes are written
    yaml.dump(tree, stream)
    return stream.getvalue()


def _models(tree: Any) -> Iterator[tuple[Any, str]]:
    """Where models are named: a mapping and the key in it."""
    block = _mapping(tree, _BLOCK)
    yield tree, "base_model"
    models = tree.get("models")
    for entry in models if isinstance(models, list) else ():
        if isinstance(entry, dict):
            yield entry, "model"
    yield from ((block, key) for key in ("target", "reward_head"))
    for own in (_mapping(block, "towers"), _mapping(block, "tasks")):
        yield from ((own, key) for key in list(own))


def _files(tree: Any) -> Iterator[tuple[Any, str]]:
    """Where files are named."""
    block = _mapping(tree, _BLOCK)
    yield block, "template"
    yield _mapping(block, "statistics"), "file"


def _mapping(node: Any, key: str) -> Any:
    found = node.get(key)
    return found if isinstance(found, dict) else {}


def _located(reference: str, folder: Path) -> str:
    try:
        return locate(reference, folder)
    except ValueError:
        return reference
