"""A recipe that is printed can be kept anywhere: its paths are absolute, the rest as it was."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from merge_ops.recipe import Entry, Recipe, Source, StatisticsRef
from merge_ops.recipe_paths import text_for_anywhere
from merge_ops.recipe_text import write_recipe
from merge_ops.recipe_yaml import parse_recipe, read_recipe

ELSEWHERE = Path("/another/folder/recipe.yaml")


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    for name in ("base", "a", "b", "a/adapter"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "study").mkdir()
    return {n: str((tmp_path / "models" / n).resolve()) for n in ("base", "a", "b", "a/adapter")}


def emr(models: dict[str, str], template: str = "target") -> Recipe:
    """All that a recipe can name but statistics: target, head, towers, tasks, an adapter."""
    adapted = f"{models['b']}+{models['a/adapter']}"
    return Recipe(
        "emr",
        (Source(models["a"]), Source(adapted)),
        models["base"],
        target=models["base"],
        reward_head=models["a"],
        exclude=("lm_head",),
        towers={"visual": models["b"]},
        template=template,
        tasks={"one: odd": models["a"], "two": adapted},
        provenance={"models_sha256": {models["a"]: "0"}, "note": "../models/a"},
    )


def test_every_path_of_a_recipe_holds_from_elsewhere(
    models: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "study" / "recipe.yaml"
    chat = path.parent / "chat.jinja"
    chat.write_text("{{ messages }}")
    for recipe in (emr(models), emr(models, str(chat.resolve()))):
        write_recipe(recipe, path)
        assert "../models/a" in path.read_text()
        assert read_recipe(path) == recipe
        again = parse_recipe(text_for_anywhere(path), ELSEWHERE)
        assert again == recipe
        assert again.provenance["note"] == "../models/a"  # is nobody's path


def test_statistics_keep_their_file(models: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "study" / "recipe.yaml"
    file = path.parent / "statistics.safetensors"
    file.write_bytes(b"x")
    ref = StatisticsRef(str(file.resolve()), hashlib.sha256(b"x").hexdigest(), "")
    weights = {"weight": (Entry(None, 0.5),)}
    plain = Recipe("fisher", tuple(Source(models[n], weights) for n in ("a", "b")))
    recipe = replace(plain, target=models["a"], statistics=ref)
    write_recipe(recipe, path)
    assert "file: statistics.safetensors" in path.read_text()
    assert f"file: {file.resolve()}\n" in text_for_anywhere(path)


def test_hub_ids_absent_models_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "# mine\nmerge_method: linear\nmodels:\n- model: owner/name@v1\n"
        "  parameters: {weight: 1}\n"
        "- model: ../gone\n"
    )
    assert text_for_anywhere(path) == path.read_text()
