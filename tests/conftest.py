"""Fixtures shared by the tests: tiny models made from configs, and a small staged demo."""

import gc
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

from tests.tiny import save, tiny_llama

if TYPE_CHECKING:
    from merge_ops.resident import ResidentModel

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_finish() -> None:
    """What is imported by now stays: collecting garbage need not look through it, ever again."""
    gc.collect()
    gc.freeze()


torch.set_num_threads(1)  # two threads that spin make a busy machine many times slower
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def llamas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a base and two experts, random and unrelated."""
    root = tmp_path_factory.mktemp("llamas")
    folders = {}
    for seed, name in enumerate(("base", "a", "b")):
        save(tiny_llama(seed), root / name)
        folders[name] = str(root / name)
    return folders


@pytest.fixture(scope="session")
def near(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A base and two experts that changed each weight by at most a fifth of itself."""
    root = tmp_path_factory.mktemp("near")
    folders = {}
    for name, seed in {"base": 0, "a": 1, "b": 2}.items():
        model = tiny_llama(0)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.rand(parameter.shape, generator=generator) * 2 - 1
                parameter.mul_(1 + 0.2 * noise * (name != "base"))
        save(model, root / name)
        folders[name] = str(root / name)
    return folders


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's models, data and study files; tests write their own studies beside them."""
    from studies.demo.stage import stage_demo

    out = tmp_path_factory.mktemp("demo")
    stage_demo(out, trials=6, seed=0)
    return out


@pytest.fixture(scope="session")
def small_study(demo_folder: Path) -> Callable[..., Path]:
    """Write a study file of few examples: `small_study("reasoning", out="x", trials=3)`."""

    def write(kind: str, *, out: str, **changes: object) -> Path:
        from ruamel.yaml import YAML

        yaml = YAML()
        content = yaml.load((demo_folder / f"{kind}.yaml").read_text())
        content["out"] = out
        content["name"] = out
        content["warm_start"] = ["linear_grid"]
        content["tracking"] = {"enabled": False}
        content["confirm_top"] = 2
        for objective in content["objectives"]:
            objective["limit"] = 24
        content["budget"] = {"trials": changes.pop("trials", 3)}
        content.update(changes)
        path = demo_folder / f"{out}.yaml"
        with path.open("w") as stream:
            yaml.dump(content, stream)
        return path

    return write


@pytest.fixture(scope="module")
def live(demo_folder: Path) -> "ResidentModel":
    """The demo's reward model: its layers and the model's own, 0.9 of each, in the LLaVA."""
    from merge_ops.recipe import Entry, Recipe, Source
    from merge_ops.residency import load_resident
    from merge_ops.runtime import Runtime

    models = {name: str(demo_folder / "models" / name) for name in ("base", "vlm", "reward")}
    recipe = Recipe(
        "task_arithmetic",
        tuple(Source(models[n], {"weight": (Entry(None, 0.9),)}) for n in ("vlm", "reward")),
        models["base"],
        dtype="float32",
        target=models["vlm"],
        reward_head=models["reward"],
        exclude=("embed_tokens", "lm_head"),
    )
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    return resident


@pytest.fixture(scope="session")
def browser() -> str:
    """A browser's command; tests that want one are skipped where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found
