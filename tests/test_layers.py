"""Imports point one way: studies -> search -> objectives, merge_ops."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "merge_ops": set[str](),
    "objectives": set[str](),
    "search": {"merge_ops", "objectives"},
    "studies": {"merge_ops", "objectives", "search"},
}
TOP_LEVEL = {*MAY_IMPORT, "tests", "docs", "benchmarks"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_downwards(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            used = {name.partition(".")[0] for name in names} & MAY_IMPORT.keys()
            assert used <= MAY_IMPORT[package] | {package}, f"{path}: {used}"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_every_file_says_what_it_is(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no first line"


def test_tests_and_benchmarks_are_flat() -> None:
    for folder in ("tests", "benchmarks"):
        assert not list((ROOT / folder).glob("*/*.py")), f"{folder} holds no packages"
        assert not (ROOT / folder / "__init__.py").exists()
