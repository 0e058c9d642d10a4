"""Exports of all tested families load in plain transformers and say what the live model said.

Each family is exported as a reward model from both layouts on disk; one process that never imports
the project reads all folders (`tests/exported.py`).
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from studies.export import export
from studies.reward_code import REWARD_FILE
from tests import exported
from tests.families import FAMILIES, build

LAYOUTS = ("as_saved", "as_in_memory")
KEYED_BY_CLASS = ("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni_thinker")
ONE_LAYOUT = ("idefics2", "idefics3", "smolvlm", "qwen3_vl")
"""Named on disk as in memory."""
Batch = tuple[tuple[str, str], ...]
ALL: Batch = tuple(
    (f, layout) for f in FAMILIES for layout in LAYOUTS[: 1 if f in ONE_LAYOUT else 2]
)
QUICK: Batch = tuple(case for case in ALL if case[0] in ("llava", "idefics3", *KEYED_BY_CLASS))
REST: Batch = tuple(case for case in ALL if case not in QUICK)
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]


@dataclass(frozen=True)
class Case:
    """One export: the target's folder, the export's, and what the live model said."""

    target: Path
    folder: Path
    logits: torch.Tensor
    scores: torch.Tensor
    sums: Mapping[str, str]


@dataclass(frozen=True)
class Told:
    """What the live model said, and what the process without the project read.

    Attributes:
        case: the export.
        plain: read from it.
        tampered: read from its copy, whose modeling file registers nothing.
    """

    case: Case
    plain: Mapping[str, Any]
    tampered: Mapping[str, Any]


Ask = Callable[[str, str], Told]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Exports and reads a whole batch when one of its cases is first asked for."""
    read: dict[Batch, dict[tuple[str, str], Told]] = {}

    def told(family: str, layout: str) -> Told:
        batch = next(b for b in (QUICK, REST) if (family, layout) in b)
        if batch not in read:
            read[batch] = _read(tmp_path_factory.mktemp("exported"), batch)
        return read[batch][family, layout]

    return told


def _read(root: Path, batch: Batch) -> dict[tuple[str, str], Told]:
    for name in dict(batch):
        _write_models(root / name)
    cases = {(f, layout): _export(root / f, layout) for f, layout in batch}
    suspects = {key: _tampered(cases[key].folder) for key in batch if key[0] in KEYED_BY_CLASS}
    found = _answers(root, [case.folder for case in cases.values()], [*suspects.values()])
    return {
        key: Told(case, found[str(case.folder)], found.get(str(suspects.get(key)), {}))
        for key, case in cases.items()
    }


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


def _tampered(folder: Path) -> Path:
    """A copy whose modeling file does not register the names."""
    copy = copytree(folder, folder.with_name(f"{folder.name}-tampered"))
    code = copy / REWARD_FILE
    text, count = re.subn(r"(?m)^if names is not None:\n.*\n", "", code.read_text())
    assert count == 1
    code.write_text(text)
    return copy


def _answers(root: Path, folders: list[Path], suspects: list[Path]) -> dict[str, dict[str, Any]]:
    """What one process without the project reads from every folder."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["HF_MODULES_CACHE"] = str(root / "modules")
    script = copyfile(exported.__file__, root / "exported.py")
    command = [sys.executable, script, root / "answers", *folders, "--suspects", *suspects]
    done = subprocess.run(
        list(map(str, command)), cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = torch.load(root / "answers", weights_only=True)
    return found


@pytest.mark.parametrize(("family", "layout"), CASES)
def test_an_export_loads_in_plain_transformers_with_the_live_logits(
    family: str, layout: str, ask: Ask
) -> None:
    told = ask(family, layout)
    assert torch.equal(told.plain["logits"], told.case.logits)
    assert told.plain["sums"] == told.case.sums  # towers and projectors too


@pytest.mark.parametrize(("family", "layout"), CASES)
def test_an_export_is_named_as_its_target_is(family: str, layout: str, ask: Ask) -> None:
    case = ask(family, layout).case
    shards = sorted(case.folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert (case.folder / "model.safetensors.index.json").is_file()
    written = [name for shard in shards for name in load_file(shard)]
    assert sorted(written) == sorted(load_file(case.target / "model.safetensors"))


@pytest.mark.parametrize(("family", "layout"), CASES)
def test_one_line_loads_the_reward_model_with_the_live_scores(
    family: str, layout: str, ask: Ask
) -> None:
    told = ask(family, layout)
    assert len(set(told.case.scores.tolist())) == len(exported.IDS)
    for side in ("left", "right"):
        torch.testing.assert_close(told.plain[side], told.case.scores, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", KEYED_BY_CLASS)
def test_a_new_class_name_does_not_load_a_random_language_model(family: str, ask: Ask) -> None:
    """The trap is there, is silent in the library, and is refused by the file that is written."""
    legacy = ask(family, LAYOUTS[0]).tampered
    assert legacy["random"]["False"] > 30  # in a module of one's own
    by_type = family == "qwen2_5_omni_thinker"  # has a table by model type, too
    assert by_type or legacy["random"]["True"] > 30  # in one of transformers
    assert "only the score head may be missing" in legacy["refused"]


@pytest.mark.parametrize("family", KEYED_BY_CLASS)
def test_names_on_disk_that_are_those_in_memory_need_no_registration(
    family: str, ask: Ask
) -> None:
    told = ask(family, LAYOUTS[1])
    assert told.tampered["random"] == {"True": 0, "False": 0}
    torch.testing.assert_close(told.tampered["left"], told.case.scores, atol=1e-6, rtol=0)
