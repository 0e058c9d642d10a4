"""Values that the shell offers at a press of the tab key; found without anything heavy."""

import ast
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parents[2] / "merge_ops"
_DECORATORS = {"merge_op", "rewrite"}


def splits() -> list[str]:
    """Of a study's examples."""
    return ["selection", "confirm", "test"]


def searches() -> list[str]:
    """Of a study."""
    return ["search", "global"]


def dtypes() -> list[str]:
    """Of weights."""
    return ["float32", "bfloat16", "float16"]


def preset_names() -> list[str]:
    """Data sets known by name."""
    from objectives.preset import all_presets

    return [preset.name for preset in all_presets()]


def method_names() -> list[str]:
    """Merge methods, read off their files: to import them takes seconds, for they need torch."""
    files = [path for part in ("methods", "rewrites") for path in (_PACKAGE / part).glob("*.py")]
    return sorted(name for path in files for name in _declared(path))


def _declared(path: Path) -> Iterator[str]:
    """Names that a file gives to the functions that it registers."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for call in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            if call.func.id not in _DECORATORS:
                continue
            given = [k.value for k in call.keywords if k.arg == "name"]
            name = given[0].value if given and isinstance(given[0], ast.Constant) else None
            yield name if isinstance(name, str) else str(getattr(node, "name", ""))
