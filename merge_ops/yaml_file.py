"""A YAML file read safely, whose problems are reported as `file:line:column: text`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from merge_ops.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

Location = tuple[str | int, ...]
"""The keys and indices that lead from the top of the file to a value."""

MAX_KEY = 200  # characters
_SHOWN = 80  # characters of a wrong value that a message repeats
_LONGEST = 1000  # characters of one message
_MOST = 50  # problems that are listed
_KINDS = {"CommentedSeq": "list"}

Schema = TypeVar("Schema", bound="BaseModel")


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


def validate(file: YamlFile, schema: type[Schema]) -> Schema:
    """Check the content against a pydantic model and return the model.

    Raises:
        UserError: with one line for each problem.
    """
    from pydantic import ValidationError

    try:
        return schema.model_validate(file.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems = [_problem(detail, schema, file.data) for detail in details]
    raise file.error(problems)


def _problem(detail: Any, schema: type["BaseModel"], data: Any) -> tuple[Location, str]:
    """Put one of pydantic's errors into words."""
    location = _without_tags(detail["loc"], data)
    dotted = ".".join(map(str, location))
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(str(location[-1]), _known_keys(schema, location[:-1]))
        return location, f"{dotted}: unknown key{hint}"
    if detail["type"] == "missing":
        return location, f"{dotted}: this key is required"
    if detail["type"] == "union_tag_invalid":
        key = detail["ctx"]["discriminator"].strip("'")
        known = detail["ctx"]["expected_tags"].replace("'", "").split(", ")
        hint = did_you_mean(detail["ctx"]["tag"], known)
        text = f"{dotted}.{key}: must be one of {', '.join(known)}, not {detail['ctx']['tag']!r}"
        return (*location, key), text + hint
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return location, f"{dotted}: {message}" if dotted else message
    got = repr(detail["input"])
    shown = got if len(got) <= _SHOWN else f"{got[:_SHOWN]}..."
    return location, f"{dotted}: {message}, but got {shown}"


def _without_tags(location: Location, data: Any) -> Location:
    """Drop the names of a union's branches, which pydantic adds and the file does not have."""
    found: list[str | int] = []
    for i, step in enumerate(location):
        last = i == len(location) - 1
        if isinstance(data, dict):
            if step not in data and not last:
                continue
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step] if step < len(data) else None
        elif isinstance(step, str):
            continue  # below a scalar there is nothing in the file
        found.append(step)
    return tuple(found)


def _known_keys(schema: type["BaseModel"], location: Sequence[str | int]) -> list[str]:
    """The keys that the model at `location` inside `schema` accepts."""
    models: list[Any] = [schema]
    for step in location:
        models = [inner for model in models for inner in _inner_models(model, step)] or models
    return sorted({field.alias or n for m in models for n, field in m.model_fields.items()})


def _inner_models(model: Any, step: str | int) -> list[Any]:
    """Pydantic models that the field `step` of `model` may hold; an index changes nothing."""
    if isinstance(step, int):
        return [model]
    field = model.model_fields.get(step)
    found, todo = [], [field.annotation] if field else []
    while todo:
        kind = todo.pop()
        if hasattr(kind, "model_fields"):
            found.append(kind)
        todo.extend(get_args(kind))
    return found


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
