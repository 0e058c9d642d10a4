"""A study over a target whose towers come from an expert."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import torch
from safetensors.torch import load_file, save_file

from merge_ops.recipe_yaml import read_recipe
from studies.paths import RECIPE
from studies.provenance import study_digest
from studies.run import run_study
from studies.setup import identities, read_study


def test_a_study_sees_through_the_towers_that_it_names(
    demo_folder: Path, small_study: Callable[..., Path], tmp_path: Path
) -> None:
    """A blind copy of the target, given the target's towers, is scored as the target is."""
    blind = tmp_path / "blind"
    copytree(demo_folder / "models" / "vlm", blind)
    tensors = load_file(blind / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if "vision_tower" in name or "projector" in name:
            noise = torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            tensors[name] = noise
    save_file(tensors, blind / "model.safetensors", metadata={"format": "pt"})
    towers = dict.fromkeys(("vision_tower", "multi_modal_projector"), "models/vlm")
    lent = {"target": str(blind), "towers": towers}
    scores = {}
    studies = {}
    for out, changes in {"seen": {}, "lent": lent}.items():
        changed = {"sampler": "random", "compare": False, **changes}
        studies[out] = read_study(small_study("reasoning", out=out, trials=2, **changed))
        results = run_study(studies[out])
        scores[out] = json.dumps([results["winner"][split] for split in ("selection", "confirm")])
    assert scores["seen"] == scores["lent"]
    recipe = read_recipe(studies["lent"].out / RECIPE)
    assert set(recipe.towers) == set(towers)
    sums = identities(studies["lent"])
    other = {ref: "0" if ref.endswith("vlm") else text for ref, text in sums.items()}
    assert study_digest(studies["lent"], sums) != study_digest(studies["lent"], other)
