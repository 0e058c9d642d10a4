"""LoRA experts through recipes, studies and commands, on the embedded models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from merge_ops.alignment import align
from merge_ops.errors import UserError
from merge_ops.hub import weights_sha256
from merge_ops.loading import load_model
from merge_ops.recipe_yaml import read_recipe
from studies.export import build_checkpoint
from studies.paths import RECIPE, RESULTS
from studies.run import run_study
from studies.scoring import score_once
from studies.setup import identities, read_study
from tests.adapters import factors_for, renamed, save_adapter

MakeStudy = Callable[..., Path]


@pytest.fixture(scope="module")
def lora(demo_folder: Path) -> str:
    """The text expert's difference in query and value, of rank 4, as an adapter on the base."""
    base = load_model(str(demo_folder / "models/base"), "float32")
    expert = load_model(str(demo_folder / "models/math"), "float32").state_dict()
    tensors = factors_for(base, "q_proj", "v_proj", rank=4)
    for key in [key for key in tensors if "lora_A" in key]:
        name = key.removeprefix("base_model.model.").replace("lora_A.", "")
        u, s, v = torch.linalg.svd(expert[name] - base.state_dict()[name], full_matrices=False)
        tensors[key] = v[:4].contiguous()
        tensors[key.replace("lora_A", "lora_B")] = (u[:, :4] * s[:4]).contiguous()
    named = {"base_model_name_or_path": "demo/text", "r": 4, "lora_alpha": 4}
    save_adapter(demo_folder / "models/lora", tensors, **named)
    return "models/base+models/lora"


@pytest.fixture(scope="module")
def found(small_study: MakeStudy, lora: str) -> tuple[dict[str, Any], Path]:
    experts = [{"model": "models/vlm", "name": "vlm"}, {"model": lora}]
    path = small_study("reasoning", out="adapted", trials=2, experts=experts)
    return run_study(read_study(path)), path


def test_a_study_takes_an_adapter_as_an_expert(found: tuple[dict[str, Any], Path]) -> None:
    results, path = found
    study = read_study(path)
    assert study.labels == ("vlm", "base+lora")
    assert "base+lora layers in vlm" in [row["name"] for row in results["rows"]]
    text = (study.out / RECIPE).read_text()
    assert "model: ../models/base+../models/lora" in text
    recipe = read_recipe(study.out / RECIPE)
    known = identities(study)
    own = recipe.models[1].model
    assert known[own] == weights_sha256(own) == recipe.provenance["models_sha256"][own]
    assert recipe.provenance["digest"] == recipe.digest(known)
    again = score_once(str(study.out / RECIPE), read_study(path), "test")
    assert again["against_found"] == {"n": 48, "flipped": 0}
    assert (study.out / RESULTS).is_file()


def test_its_recipe_is_built_and_holds_the_merge(
    found: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    recipe, count = build_checkpoint(read_study(found[1]).out / RECIPE, tmp_path / "out")
    assert count == 55
    assert "`base+lora`" in (tmp_path / "out/README.md").read_text()
    assert read_recipe(tmp_path / "out/recipe.yaml").models == recipe.models
    every = load_file(tmp_path / "out/model.safetensors")
    assert all(tensor.isfinite().all() for tensor in every.values())


def test_a_model_with_an_adapter_is_scored(
    found: tuple[dict[str, Any], Path],
    demo_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(demo_folder)
    plain = score_once("models/vlm", read_study(found[1]), "selection")
    adapted = score_once("models/vlm+models/lora", read_study(found[1]), "selection")
    assert adapted["score"] != plain["score"]
    with pytest.raises(UserError, match=r"no folder 'models/lor', did you mean 'lora'\?"):
        score_once("models/vlm+models/lor", read_study(found[1]), "selection")


@pytest.mark.usefixtures("lora")
def test_align_says_what_the_adapter_changes(demo_folder: Path) -> None:
    models = demo_folder / "models"
    found = align(str(models / "vlm"), f"{models}/base+{models}/lora")
    assert found.adapter == "12 tensors changed (rank 4), 12 of them merged"
    assert found.notes == (f"{models}/lora was trained on demo/text, and is put on {models}/base",)
    assert align(str(models / "vlm"), str(models / "base")).adapter == ""
    factors = factors_for(load_model(str(models / "vlm"), None), "lm_head", "linear_1")
    head = save_adapter(models / "head", factors)
    said = align(str(models / "vlm"), f"{models}/vlm+{head}").adapter
    assert said == "2 tensors changed (rank 2), 1 of them merged"  # the head is kept


def test_an_adapter_that_does_not_fit_stops_a_study_before_its_first_trial(
    small_study: MakeStudy, demo_folder: Path
) -> None:
    base = load_model(str(demo_folder / "models/base"), None)
    factors = renamed(factors_for(base, "q_proj"), "model.layers.5.", "model.layers.9.")
    save_adapter(demo_folder / "models/other", factors)
    experts = [{"model": "models/base+models/other"}]
    study = read_study(small_study("reasoning", out="misfit", trials=2, experts=experts))
    with pytest.raises(UserError, match=r"has not model\.layers\.9\.self_attn\.q_proj"):
        run_study(study)
    assert not (study.out / RECIPE).exists()
