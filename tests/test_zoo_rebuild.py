"""Slow test of the zoo's build: a rebuilt zoo is as able as the shipped one."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.demo.build import build_zoo
from studies.demo.zoo import read_manifest, verify_manifest

TOLERANCE = 0.06  # of an accuracy on 480 items: other machines round otherwise


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_rebuilt_zoo_is_as_able_as_the_shipped_one(tmp_path: Path) -> None:
    shipped = read_manifest()
    lines: list[str] = []
    rebuilt = build_zoo(tmp_path / "zoo", shipped["seed"], lines.append)
    verify_manifest(tmp_path / "zoo")
    assert read_manifest(tmp_path / "zoo")["accuracies"] == rebuilt
    assert len(lines) == 9
    own_skills = {
        "math": ("text_perception", "text_reasoning"),
        "vlm": ("perception",),
        "reward": ("text_preferences",),
        "skill_places": ("places",),
        "skill_compare": ("compare",),
        "skill_sums": ("arithmetic",),
    }
    for model, skills in own_skills.items():
        for skill in skills:
            expected = shipped["accuracies"][model][skill]
            assert rebuilt[model][skill] == pytest.approx(expected, abs=TOLERANCE), (model, skill)
