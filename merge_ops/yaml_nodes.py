"""YAML text as nodes with their places, refused where it could do harm or means nothing here.

A file may come from a stranger: it is bounded before anything is made of it. Aliases and merge
keys are read; tags that make objects are not.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import RoundTripScanner, ScannerError
from ruamel.yaml.tag import Tag

from merge_ops.yaml_file import MAX_KEY

MAX_BYTES = 1 << 19
"""Of a file; the worst that fits takes half a minute to read, and files have a few kilobytes."""

MAX_DEPTH = 32
MAX_NODES = 100_000  # values, those that aliases repeat counted each time
_MAX_MERGES = 200  # merge keys; ruamel needs time in the square of their number
_MAX_TEXT = 20_000  # characters

_CORE = "tag:yaml.org,2002:"
_KNOWN = frozenset(("str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp"))
_WHOLE = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*)")
_MAX_DIGITS = 30

Problem = tuple[int, int, str]
"""Line and column, from 1, and what is wrong there."""


class NodeError(Exception):
    """Text that is no YAML that can be read here; `problems` says where and why."""

    def __init__(self, problems: list[Problem]) -> None:
        """Args: `problems` in the order of the text."""
        super().__init__(problems)
        self.problems = problems


def load_tree(text: str) -> Any:
    """The content of `text` as ruamel's containers, which know the place of every key.

    Raises:
        NodeError: it is not YAML, too deep or too large, or holds what no file here may hold.
    """
    yaml = YAML(typ="rt", pure=True)
    yaml.Scanner = _Scanner
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # the last one counts
            node = yaml.compose(text)
        problems = sorted(set(_problems(node))) if node is not None else []
        if problems:
            raise NodeError(problems)
        return None if node is None else yaml.constructor.construct_document(node)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = " ".join((error.problem or str(error)).split())
        text = problem if problem.startswith("must ") else f"not valid YAML: {problem}"
        raise NodeError([(line, column, text)]) from None
    except RecursionError:
        raise NodeError([(1, 1, f"must not nest deeper than {MAX_DEPTH} levels")]) from None
    except ReaderError as error:  # counts characters alone
        before = text[: error.position]
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        bad = ascii(text[error.position : error.position + 1])
        raise NodeError([(*place, f"a text must not hold the control character {bad}")]) from None
    except (YAMLError, ValueError) as error:
        raise NodeError([(1, 1, f"not valid YAML: {' '.join(str(error).split())}")]) from None


class _Scanner(RoundTripScanner):
    """Ruamel's, which needs time in the square of how deep brackets nest: 25 s for 5,000."""

    def fetch_flow_collection_start(self, token: Any, to_push: str) -> None:
        """Begin a list or mapping in brackets."""
        if len(self.flow_context) >= MAX_DEPTH:
            text = f"must not nest deeper than {MAX_DEPTH} levels"
            raise ScannerError(None, None, text, self.reader.get_mark())
        super().fetch_flow_collection_start(token, to_push)


@dataclass(slots=True)
class _Walk:
    """What is known of nodes that were seen.

    Attributes:
        sizes: how many values each holds with aliases expanded; None while it is being visited.
        merges: merge keys so far.
        full: that they are too many was said.
        deep: that they nest too deep was said.
    """

    sizes: dict[int, int | None] = field(default_factory=dict)
    merges: int = 0
    full: bool = False
    deep: bool = False


def _problems(root: Any) -> Iterator[Problem]:
    yield from _visit(root, 1, _Walk())


def _visit(node: Any, depth: int, walk: _Walk) -> Iterator[Problem]:
    """Problems of a node and all below it; a node that many aliases name is visited once."""
    if id(node) in walk.sizes:
        if walk.sizes[id(node)] is None:
            yield *_at(node), "an alias must not stand inside of what it names"
        return
    walk.sizes[id(node)] = None
    children = _children(node)
    if depth > MAX_DEPTH:
        if not walk.deep:
            yield *_at(node), f"must not nest deeper than {MAX_DEPTH} levels"
        walk.deep, children = True, []
    yield from _own_problems(node)
    walk.merges += str(node.tag) == f"{_CORE}merge"
    if walk.merges == _MAX_MERGES + 1:
        walk.merges += 1  # said once
        yield *_at(node), f"must not hold more than {_MAX_MERGES} merge keys (<<)"
    for child in children:
        yield from _visit(child, depth + 1, walk)
    size = 1 + sum(walk.sizes.get(id(child)) or 1 for child in children)
    walk.sizes[id(node)] = size
    if size > MAX_NODES and not walk.full:
        walk.full = True
        text = f"must not hold more than {MAX_NODES:,} values, counting aliases each time"
        yield *_at(node), text


def _children(node: Any) -> list[Any]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _own_problems(node: Any) -> Iterator[Problem]:
    kind = str(node.tag).removeprefix(_CORE)
    if kind not in _KNOWN:
        yield *_at(node), f"the tag {_shown(node.tag)} is not allowed; write plain values"
    if isinstance(node, ScalarNode):
        yield from _scalar_problems(node, kind)
    for key, _ in node.value if isinstance(node, MappingNode) else ():
        yield from _key_problems(key)


def _scalar_problems(node: Any, kind: str) -> Iterator[Problem]:
    text: str = node.value
    if len(text) > _MAX_TEXT:
        yield *_at(node), f"a text must not be longer than {_MAX_TEXT:,} characters"
    bad = next((c for c in text if not c.isprintable() and _is_control(c)), None)
    if bad is not None:
        yield *_at(node), f"a text must not hold the control character {bad!a}"
    if kind == "timestamp":  # no key takes a date
        node.ctag = Tag(suffix=f"{_CORE}str")
    elif kind == "int" and (not _WHOLE.fullmatch(text) or len(text) > _MAX_DIGITS):
        long = f"a whole number of at most {_MAX_DIGITS} digits"
        yield *_at(node), f"must be {long}, but is {_shown(text)}"
    elif kind == "float" and not _is_float(text):
        yield *_at(node), f"must be a number, but is {_shown(text)}"


def _is_control(character: str) -> bool:
    """Control characters but tab and newline, and halves of surrogate pairs."""
    code = ord(character)
    return (code < 32 and character not in "\t\n") or 127 <= code < 160 or 0xD800 <= code < 0xE000


def _is_float(text: str) -> bool:
    try:
        float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return False
    return True


def _key_problems(key: Any) -> Iterator[Problem]:
    kind = str(key.tag).removeprefix(_CORE)
    if not isinstance(key, ScalarNode):
        yield *_at(key), "a key must be text, but is a list or a mapping"
    elif kind not in {"str", "merge", "timestamp"}:
        yield *_at(key), f"a key must be text; put {_shown(key.value)} in quotes"
    elif len(key.value) > MAX_KEY or not key.value.isprintable():
        text = f"a key must be one line of at most {MAX_KEY} characters"
        yield *_at(key), f"{text}, but is {_shown(key.value)}"


def _shown(value: Any) -> str:
    text = str(value)
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")


def _at(node: Any) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
