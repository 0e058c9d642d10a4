"""A YAML file read safely, whose problems are reported as `file:line:column: text`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError

Location = tuple[str | int, ...]
"""The keys and indices that lead from the top of the file to a value."""

MAX_KEY = 200  # characters
_LONGEST = 1000  # characters of one message
_MOST = 50  # problems that are listed
_KINDS = {"CommentedSeq": "list"}


@dataclass(frozen=True, slots=True)
class YamlFile:
    """One file.

    Attributes:
        path: where it was read from; messages name it as the user did.
        data: its content as plain dicts, lists and scalars.
        tree: the same content with the position of every key.
    """

    path: Path
    data: dict[str, Any]
    tree: Any

    def where(self, location: Location) -> tuple[int, int]:
        """Line and column, from 1, of the deepest part of `location` that the file has."""
        node: Any = self.tree
        line = column = 0
        for step in location:
            place = _place(node, step)
            if place is None:
                break
            line, column = place
            node = node[step]
        return line + 1, column + 1

    @contextmanager
    def at(self, *location: str | int) -> Iterator[None]:
        """Give the errors of the block their place in the file, unless they have one."""
        try:
            yield
        except UserError as error:
            text = str(error)
            if text.startswith(f"{self.path}:"):  # it has one already
                raise
            key = ".".join(map(str, location))
            text = text if text.startswith(key) else f"{key}: {text}"
            raise self.error([(location, text)]) from None

    def error(self, problems: Iterable[tuple[Location, str]]) -> UserError:
        """Make one error of all problems, in the order of the file."""
        return _one_error(self.path, [(*self.where(place), text) for place, text in problems])


def _one_error(path: Path, problems: Iterable[tuple[int, int, str]]) -> UserError:
    """One line for each problem, in the order of the file; a flood of them is cut."""
    placed = sorted(problems)
    lines = [f"{path}:{line}:{column}: {_clipped(text)}" for line, column, text in placed[:_MOST]]
    if len(placed) > _MOST:
        line, column, _ = placed[_MOST]
        lines.append(f"{path}:{line}:{column}: and {len(placed) - _MOST} more problems from here")
    return UserError("\n".join(lines))


def _clipped(text: str) -> str:
    text = " ".join(text.splitlines())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _place(node: Any, step: str | int) -> tuple[int, int] | None:
    """Line and column, from 0, of the key or item `step` of a ruamel node; None if it has none."""
    try:
        return node.lc.item(step) if isinstance(step, int) else node.lc.key(step)  # type: ignore[no-any-return]
    except (AttributeError, KeyError, IndexError):
        return None


def read_yaml(path: Path) -> YamlFile:
    """Read `path` within bounds (YAML 1.2; duplicate keys and tags are errors).

    Raises:
        UserError: the file is missing or too large, is not YAML, or is not a mapping at its top.
    """
    from merge_ops.yaml_nodes import MAX_BYTES

    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _absent(path) from None
    except IsADirectoryError:
        raise UserError(f"{path}: must be a file, but is a folder.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if len(content) > MAX_BYTES:
        raise UserError(
            f"{path}:1:1: must not be larger than {MAX_BYTES:,} bytes; is it the right file?"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        byte = f"0x{content[error.start]:02x}"
        text = f"must be UTF-8 text, but holds the byte {byte}"
        raise UserError(f"{path}:{line}:{column}: {text}") from None
    return parse_yaml(text, path)


def check_there(path: Path) -> None:
    """Refuse a file that is not there, before anything heavy is imported for it.

    Raises:
        UserError: it is not there.
    """
    if not path.exists():
        raise _absent(path)


def _absent(path: Path) -> UserError:
    return UserError(f"{path}: there is no such file.")


def parse_yaml(text: str, path: Path) -> YamlFile:
    """As `read_yaml`, for text that stands, or is to stand, in `path`."""
    from merge_ops.yaml_nodes import NodeError, load_tree

    try:
        tree = load_tree(text)
    except NodeError as error:
        raise _one_error(path, error.problems) from None
    if not isinstance(tree, dict):
        kind = "empty" if tree is None else f"a {_KINDS.get(type(tree).__name__, 'single value')}"
        raise UserError(
            f"{path}:1:1: the file must be a mapping of keys to values, but is {kind}."
        )
    return YamlFile(path, _plain(tree), tree)


def _plain(node: Any) -> Any:
    """Strip ruamel's position-carrying types down to Python's own."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
