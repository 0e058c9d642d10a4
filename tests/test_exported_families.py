"""Exports of all tested families load in plain transformers and say what the live model said.

Each family is exported as a reward model from both layouts on disk; one process that never imports
the project reads all folders (`tests/exported.py`).
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import Runtime, load_resident
from merge_ops.resident import ResidentModel
from studies.export import export
from studies.reward_code import REWARD_FILE
from tests import exported
from tests.families import FAMILIES, build

LAYOUTS = ("as_saved", "as_in_memory")
KEYED_BY_CLASS = ("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni_thinker")
ONE_LAYOUT = ("idefics2", "idefics3", "smolvlm", "qwen3_vl")
"""Named on disk as in memory."""
CASES = [(f, x) for f in FAMILIES for x in LAYOUTS[: 1 if f in ONE_LAYOUT else 2]]


@dataclass(frozen=True)
class Case:
    """One export: the target's folder, the export's, and what the live model said."""

    target: Path
    folder: Path
    logits: torch.Tensor
    scores: torch.Tensor
    sums: Mapping[str, str]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Case]:
    root = tmp_path_factory.mktemp("exported")
    for name in FAMILIES:
        _write_models(root / name)
    return {(f, layout): _export(root / f, layout) for f, layout in CASES}


def _write_models(root: Path) -> None:
    """The target in its layouts on disk, and a reward model of its text model's kind."""
    family, auto = FAMILIES[root.name](), cast("Any", AutoModelForSequenceClassification)
    vlm = build(family)
    vlm.save_pretrained(root / LAYOUTS[0])
    weights = {name: p.detach() for name, p in vlm.named_parameters()}
    saved = load_file(root / LAYOUTS[0] / "model.safetensors")
    assert (weights.keys() == saved.keys()) == (root.name in ONE_LAYOUT)
    copytree(root / LAYOUTS[0], root / LAYOUTS[1])
    save_file(weights, root / LAYOUTS[1] / "model.safetensors", metadata={"format": "pt"})
    torch.manual_seed(3)
    family.text.num_labels = 1
    auto.from_config(family.text).save_pretrained(root / "reward")


def _export(root: Path, layout: str) -> Case:
    target, out = root / layout, root / f"{layout}-out"
    resident, recipe = _live(str(target), str(root / "reward"))
    export(resident, recipe, out, shard_size="60KB", reward_code=True)
    return Case(target, out, *_said(resident), exported.sums(resident.module))


def _live(target: str, reward: str) -> tuple[ResidentModel, Recipe]:
    models = tuple(
        Source(model, {"weight": (Entry(None, w),)})
        for model, w in {target: 0.6, reward: 0.4}.items()
    )
    exclude = ("embed_tokens", "lm_head")
    recipe = Recipe("linear", models, target=target, reward_head=reward, exclude=exclude)
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    return resident, recipe


@torch.no_grad()
def _said(resident: ResidentModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the first row, and scores of all rows, each read alone and so unpadded."""
    module: Any = resident.module
    assert resident.score_head is not None
    rows = [exported.typed(module, {"input_ids": torch.tensor([row])}) for row in exported.IDS]
    last = [module.base_model(**row).last_hidden_state[:, -1] for row in rows]
    return module(**rows[0]).logits, resident.score_head(torch.cat(last))[:, 0]


@pytest.fixture(scope="module")
def read(
    cases: dict[tuple[str, str], Case], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What one process without the project read from every folder."""
    root = tmp_path_factory.mktemp("read")
    suspects = []
    for family, layout in product(KEYED_BY_CLASS, LAYOUTS):
        copy = root / family / layout
        copytree(cases[family, layout].folder, copy)
        _forget_the_names(copy / REWARD_FILE)
        suspects.append(str(copy))
    folders = [str(case.folder) for case in cases.values()]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["HF_MODULES_CACHE"] = str(root / "modules")
    script = copyfile(exported.__file__, root / "exported.py")
    command = [sys.executable, script, root / "answers", *folders, "--suspects", *suspects]
    done = subprocess.run(
        list(map(str, command)), cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = torch.load(root / "answers", weights_only=True)
    return {**found, **{f"{Path(f).parent.name}/{Path(f).name}": found[f] for f in suspects}}


def _forget_the_names(code: Path) -> None:
    """Take the registration out of a modeling file."""
    text, count = re.subn(r"(?m)^if names is not None:\n.*\n", "", code.read_text())
    assert count == 1
    code.write_text(text)


@pytest.mark.parametrize(("family", "layout"), CASES)
def test_an_export_loads_in_plain_transformers_with_the_live_logits(
    family: str, layout: str, cases: dict[tuple[str, str], Case], read: dict[str, dict[str, Any]]
) -> None:
    case = cases[family, layout]
    answers = read[str(case.folder)]
    assert torch.equal(answers["logits"], case.logits)
    assert answers["sums"] == case.sums  # towers and projectors too


@pytest.mark.parametrize(("family", "layout"), CASES)
def test_an_export_is_named_as_its_target_is(
    family: str, layout: str, cases: dict[tuple[str, str], Case]
) -> None:
    case = cases[family, layout]
    shards = sorted(case.folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert (case.folder / "model.safetensors.index.json").is_file()
    written = [name for shard in shards for name in load_file(shard)]
    assert sorted(written) == sorted(load_file(case.target / "model.safetensors"))


@pytest.mark.parametrize(("family", "layout"), CASES)
def test_one_line_loads_the_reward_model_with_the_live_scores(
    family: str, layout: str, cases: dict[tuple[str, str], Case], read: dict[str, dict[str, Any]]
) -> None:
    case = cases[family, layout]
    assert len(set(case.scores.tolist())) == len(exported.IDS)
    for side in ("left", "right"):
        scores = read[str(case.folder)][side]
        torch.testing.assert_close(scores, case.scores, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", KEYED_BY_CLASS)
def test_a_new_class_name_does_not_load_a_random_language_model(
    family: str, read: dict[str, dict[str, Any]]
) -> None:
    """The trap is there, is silent in the library, and is refused by the file that is written."""
    legacy = read[f"{family}/{LAYOUTS[0]}"]
    assert legacy["random"]["False"] > 30  # in a module of one's own
    by_type = family == "qwen2_5_omni_thinker"  # has a table by model type, too
    assert by_type or legacy["random"]["True"] > 30  # in one of transformers
    assert "only the score head may be missing" in legacy["refused"]


@pytest.mark.parametrize("family", KEYED_BY_CLASS)
def test_names_on_disk_that_are_those_in_memory_need_no_registration(
    family: str, cases: dict[tuple[str, str], Case], read: dict[str, dict[str, Any]]
) -> None:
    new = read[f"{family}/{LAYOUTS[1]}"]
    assert new["random"] == {"True": 0, "False": 0}
    torch.testing.assert_close(new["left"], cases[family, LAYOUTS[1]].scores, atol=1e-6, rtol=0)
