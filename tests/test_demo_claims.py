"""What the demo claims, on the test split, for several search seeds and for rebuilt models."""

from pathlib import Path
from typing import Any

import pytest

from studies.demo.build import build_zoo
from studies.demo.stage import stage_demo
from studies.demo.zoo import MODELS_FOLDER
from studies.run import run_study
from studies.setup import read_study

TRIALS = 120  # as `mergetuna demo`

pytestmark = pytest.mark.slow


def rows_of(out: Path, seed: int, zoo: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows by name of both studies."""
    tables = []
    for path in stage_demo(out, TRIALS, seed, zoo):
        results = run_study(read_study(path))
        tables.append({row["name"]: row for row in results["rows"]})
    return tables[0], tables[1]


def check_claims(reasoning: dict[str, Any], preference: dict[str, Any]) -> None:
    fair = reasoning["vlm alone, answers constrained"]["found_minus_this"]["objectives"]
    assert fair["reasoning"]["value"] >= 0.15
    assert fair["reasoning"]["low"] > 0
    found, vlm = (
        reasoning[name]["objectives"]["perception"]["value"]
        for name in ("found recipe", "vlm alone")
    )
    assert found >= vlm - 0.15
    blind = preference["reward alone, no image"]["found_minus_this"]
    assert blind["value"] >= 0.10
    average = preference["plain average"]["found_minus_this"]
    assert average["low"] > 0
    assert "vlm alone, log-probability judge" in preference


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_shipped_models_bear_out_the_claims(seed: int, tmp_path: Path) -> None:
    check_claims(*rows_of(tmp_path / "demo", seed, MODELS_FOLDER))


@pytest.mark.parametrize("zoo_seed", [1, 2])
def test_rebuilt_models_bear_out_the_claims(zoo_seed: int, tmp_path: Path) -> None:
    build_zoo(tmp_path / "zoo", zoo_seed, lambda _: None)
    check_claims(*rows_of(tmp_path / "demo", 0, tmp_path / "zoo"))
