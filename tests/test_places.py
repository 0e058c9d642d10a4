"""What is only known beside models or devices has its place in the study file all the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from merge_ops.errors import UserError
from studies.run import run_study
from studies.setup import read_study
from studies.validation import validate_study

KNOBS = {"knobs": {"weight": [0.0, 1.5]}}
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "bands": (
        {"search": {**KNOBS, "bands": 600}},
        "bands:",
        "search.bands: bands must lie between 1 and the number of text layers, 6, but is 600",
    ),
    "edges": ({"search": {**KNOBS, "bands": [0, 99]}}, "bands:", "search.bands: bands begin at"),
    "curve": ({"search": {**KNOBS, "curve": 99}}, "curve:", "search.curve: a curve has 2 to 6"),
    "freeze": (
        {"search": {**KNOBS, "bands": 2, "freeze": {"weight.vlm.7": 1.0}}},
        "freeze:",
        "search.freeze: 'weight.vlm.7' is none of the searched values",
    ),
    "grid": ({"sampler": "grid"}, "sampler:", "sampler: a grid of two levels for each of 12"),
    "warm study": (
        {"warm_start": ["anchors", {"study": "gone"}]},
        "- study: gone",
        "warm_start.1: there is no study in",
    ),
    "warm recipe": (
        {"warm_start": [{"recipe": "gone.yaml"}]},
        "- recipe: gone.yaml",
        "warm_start.0: ",
    ),
    "towers": ({"towers": {"ears": "models/vlm"}}, "ears:", "towers.ears: "),
    "head": ({"reward_head": "models/math"}, "reward_head:", "reward_head: "),
    "model": (
        {"experts": [{"model": "models/vlm"}, {"model": "data"}]},
        "- model: data",
        "experts.1.model: ",
    ),
}


def place_of(path: Path, start: str) -> str:
    lines = path.read_text().splitlines()
    number = next(n for n, text in enumerate(lines, 1) if text.strip().startswith(start))
    return f"{path}:{number}:"


@pytest.mark.parametrize("name", CASES)
def test_validate_tells_the_line(name: str, small_study: Callable[..., Path]) -> None:
    changes, start, said = CASES[name]
    path = small_study("preference", out=f"placed-{name.replace(' ', '-')}", **changes)
    (problem,) = validate_study(read_study(path), quick=True).problems
    assert problem.startswith(place_of(path, start))
    assert f": {said}" in problem
    assert "\n" not in problem


def test_a_run_and_a_whole_validation_tell_the_same(small_study: Callable[..., Path]) -> None:
    for name in ("bands", "model"):
        changes, start, said = CASES[name]
        path = small_study("preference", out=f"placed-run-{name}", **changes)
        study = read_study(path)
        (problem,) = validate_study(study).problems
        with pytest.raises(UserError) as refused:
            run_study(study)
        assert str(refused.value) == problem
        assert problem.startswith(place_of(path, start))
        assert f": {said}" in problem


def test_an_error_that_has_its_place_keeps_it(small_study: Callable[..., Path]) -> None:
    file = read_study(small_study("preference", out="placed-once")).file
    with pytest.raises(UserError) as caught, file.at("search"), file.at("search", "bands"):
        raise UserError("wrong")
    place = place_of(file.path, "bands:")
    assert str(caught.value) == f"{place}3: search.bands: wrong"
