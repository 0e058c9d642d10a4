"""`--json` of every command: one JSON value on standard output and nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from studies import cli
from studies.run import run_study
from studies.setup import read_study
from tests.test_commands import commands
from tests.test_convert_adapters import pickled_llama


@dataclass(frozen=True)
class Things:
    """What commands are called on, by name.

    Attributes:
        study: a file of a finished study.
        folder: of that study.
        taker: a study whose method takes statistics.
        models: of the demo.
        fresh: an empty folder.
    """

    study: str
    folder: str
    taker: str
    models: Path
    fresh: Path

    def old(self) -> str:
        """A checkpoint in an old layout."""
        return str(pickled_llama(self.fresh / "old")[0])


@pytest.fixture(scope="module")
def finished(small_study: Callable[..., Path]) -> Path:
    path = small_study("preference", out="in-json", trials=1, compare=False)
    run_study(read_study(path))
    return path


@pytest.fixture
def things(
    finished: Path, small_study: Callable[..., Path], demo_folder: Path, tmp_path: Path
) -> Things:
    knobs = {"knobs": {"weight": [0.0, 1.0]}}
    taker = small_study(
        "preference", out="json-taker", method="fisher", search=knobs, statistics={"items": 1}
    )
    folder = str(finished.parent / "in-json")
    return Things(str(finished), folder, str(taker), demo_folder / "models", tmp_path)


CALLS: dict[str, Callable[[Things], list[str]]] = {
    "validate": lambda t: [t.study, "--quick"],
    "status": lambda t: [t.folder],
    "trials": lambda t: [t.folder],
    "best": lambda t: [t.folder],
    "report": lambda t: [t.folder, "--out", str(t.fresh / "page.html")],
    "export": lambda t: [t.folder, "--out", str(t.fresh / "release")],
    "sync": lambda t: [t.folder, "--uri", f"sqlite:///{t.fresh}/mlflow.db"],
    "merge": lambda t: [f"{t.folder}/recipe.yaml", "--out", str(t.fresh / "merged")],
    "eval": lambda t: [f"{t.folder}/recipe.yaml", "--study", t.study, "--split", "confirm"],
    "baselines": lambda t: [t.study],
    "statistics": lambda t: [t.taker],
    "align": lambda t: [str(t.models / "vlm"), str(t.models / "reward")],
    "convert": lambda t: [t.old(), str(t.fresh / "new"), "--allow-pickle"],
    "families": lambda _: [],
    "methods": lambda _: [],
    "objectives": lambda _: [],
    "samplers": lambda _: [],
    "zoo verify": lambda t: [str(t.models)],
}


def test_every_command_with_json_is_tried() -> None:
    told = {n for n, one in commands().items() if any("--json" in p.opts for p in one.params)}
    assert told == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_json_is_one_value_and_nothing_else(name: str, things: Things) -> None:
    called = [*name.split(), *CALLS[name](things), "--json"]
    said = CliRunner().invoke(cli.app, called)
    assert said.exception is None, said.output
    assert said.exit_code == 0
    found: Any = json.loads(said.stdout)
    assert found
