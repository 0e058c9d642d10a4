"""What an export holds: files, template, licences, scores; and that it is whole or not there."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from ruamel.yaml import YAML
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from merge_ops.atomic import new_folder
from merge_ops.errors import UserError
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.recipe_text import write_recipe
from merge_ops.recipe_yaml import read_recipe
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from objectives.evaluation import score_all
from studies.export import build_checkpoint
from studies.licences import common_licence, licence_section
from studies.objectives_setup import make_objectives
from studies.parents import Parent, find_parents
from studies.scoring import score_once
from studies.setup import read_study
from tests import card_code
from tests.tiny import save, tiny_llama

TEMPLATES = ("target", "reward_head", "file")
PAIRS = 24


@pytest.fixture(scope="module")
def workshop(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's models, three chat templates that differ, a study and a recipe for each."""
    root = tmp_path_factory.mktemp("workshop")
    shutil.copytree(demo_folder / "models", root / "models")
    shutil.copytree(demo_folder / "data", root / "data")
    text = (root / "models" / "vlm" / "chat_template.jinja").read_text()
    end = "{{ ' ' + eos_token }}"
    assert end in text
    own = root / "models" / "reward" / "chat_template.jinja"
    own.write_text(text.replace(end, "{{ ' . ' + eos_token }}"))
    (root / "pairs.jinja").write_text(text.replace(end, "{{ ' ? ' + eos_token }}"))
    yaml = YAML()
    study = yaml.load((demo_folder / "preference.yaml").read_text())
    study["objectives"][0]["limit"] = PAIRS
    for name in TEMPLATES:
        template = str(root / "pairs.jinja") if name == "file" else name
        study["runtime"]["template"] = template
        study["out"] = f"run-{name}"
        yaml.dump(study, root / f"study-{name}.yaml")
        write_recipe(_recipe(root, template), root / f"{name}.yaml")
    return root


def _recipe(root: Path, template: str = "target", **changes: Any) -> Recipe:
    """The reward model's layers and head on the demo's VLM."""
    vlm, base, reward = (str(root / "models" / name) for name in ("vlm", "base", "reward"))
    models = tuple(
        Source(model, {"weight": (Entry(None, w),)})
        for model, w in {vlm: 0.5, reward: 0.7}.items()
    )
    settings: dict[str, Any] = {
        "base_model": base,
        "target": vlm,
        "reward_head": reward,
        "exclude": ("embed_tokens", "lm_head"),
        "template": template,
        "dtype": "float32",
    }
    return Recipe("task_arithmetic", models, **(settings | changes))


@pytest.fixture(scope="module")
def exports(workshop: Path) -> dict[str, Path]:
    """A reward model by each template."""
    for name in TEMPLATES:
        build_checkpoint(workshop / f"{name}.yaml", workshop / "out" / name, reward_code=True)
    return {name: workshop / "out" / name for name in TEMPLATES}


@pytest.fixture(scope="module")
def by_card(workshop: Path, exports: dict[str, Path]) -> dict[str, dict[str, list[float]]]:
    """Margins by the cards' own code, in a process without the project."""
    script = shutil.copyfile(card_code.__file__, workshop / "card_code.py")
    data = workshop / "data" / "preferences-test.parquet"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["HF_MODULES_CACHE"] = str(workshop / "modules")
    command = [sys.executable, script, workshop / "answers", data, PAIRS, *exports.values()]
    done = subprocess.run(
        list(map(str, command)), cwd=workshop, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((workshop / "answers").read_text())
    return {name: found[str(folder)] for name, folder in exports.items()}


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_cards_code_and_eval_give_equal_scores(
    template: str,
    workshop: Path,
    exports: dict[str, Path],
    by_card: dict[str, dict[str, list[float]]],
) -> None:
    path = workshop / f"study-{template}.yaml"
    study = read_study(path)
    preference: Any = make_objectives(study.config, study.folder).main[0]
    live = _live(workshop / f"{template}.yaml")
    expected = torch.tensor([s.margin for s in score_all(preference, live, "test").scores])
    for how in ("card", "one_line", "again"):
        got = torch.tensor(by_card[template][how])
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)  # shared prompts
    scored = score_once(str(exports[template]), read_study(path), "test")
    share = float((expected > 0).float().mean())
    assert scored["objectives"]["preference"]["micro"] == pytest.approx(share)


def _live(path: Path) -> ResidentModel:
    recipe = read_recipe(path)
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    return resident


def test_another_template_gives_other_scores(
    by_card: dict[str, dict[str, list[float]]],
) -> None:
    told = [by_card[name]["card"] for name in TEMPLATES]
    assert told[0] != told[1] != told[2] != told[0]


@pytest.mark.parametrize("template", TEMPLATES)
def test_whose_chat_template_formats_the_pairs_is_recorded(
    template: str, workshop: Path, exports: dict[str, Path]
) -> None:
    source = {
        "target": workshop / "models" / "vlm" / "chat_template.jinja",
        "reward_head": workshop / "models" / "reward" / "chat_template.jinja",
        "file": workshop / "pairs.jinja",
    }[template]
    folder = exports[template]
    assert (folder / "chat_template.jinja").read_text() == source.read_text()
    recipe = read_recipe(folder / "recipe.yaml")
    assert recipe.template == (str(source) if template == "file" else template)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    name = {"target": "vlm", "reward_head": "reward", "file": "pairs.jinja"}[template]
    of = template.replace("_", " ")
    assert recipe.provenance["chat_template"] == {"of": of, "source": name, "sha256": digest}
    card = (folder / "README.md").read_text()
    assert f"by the chat template of the {of} (`{name}`)" in card
    assert digest in card


def test_an_export_holds_what_its_target_holds(workshop: Path, exports: dict[str, Path]) -> None:
    target, folder = workshop / "models" / "vlm", exports["target"]
    written = {path.name for path in folder.iterdir()}
    own = {"README.md", "recipe.yaml", "modeling_reward.py", "reward_head.safetensors"}
    assert written == {path.name for path in target.iterdir()} | own
    for name in ("tokenizer.json", "processor_config.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (target / name).read_bytes()
    generation = [json.loads((f / "generation_config.json").read_text()) for f in (target, folder)]
    assert generation[0] == generation[1]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_code_that_is_not_copied_is_not_named(
    workshop: Path, exports: dict[str, Path], tmp_path: Path
) -> None:
    assert "auto_map" in (exports["target"] / "config.json").read_text()
    recipe = _recipe(workshop, target=str(exports["target"]))
    write_recipe(recipe, tmp_path / "recipe.yaml")
    build_checkpoint(tmp_path / "recipe.yaml", tmp_path / "out")
    assert "auto_map" not in (tmp_path / "out" / "config.json").read_text()
    assert not (tmp_path / "out" / "modeling_reward.py").exists()


def test_bfloat16_is_read_back_as_it_was_written(workshop: Path, tmp_path: Path) -> None:
    build_checkpoint(workshop / "target.yaml", tmp_path / "out", dtype="bfloat16")
    kind: Any = LlavaForConditionalGeneration
    model = kind.from_pretrained(tmp_path / "out")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    live = _live(tmp_path / "out" / "recipe.yaml").module.state_dict()
    assert all(torch.equal(value, live[name]) for name, value in model.state_dict().items())


def test_tied_heads_are_written_once(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        save(tiny_llama(seed, tied=True), tmp_path / name)
    models = [{"model": name, "parameters": {"weight": 0.5}} for name in "ab"]
    YAML().dump({"merge_method": "linear", "models": models}, tmp_path / "recipe.yaml")
    build_checkpoint(tmp_path / "recipe.yaml", tmp_path / "out", shard_size="4KB")
    shards = sorted((tmp_path / "out").glob("*.safetensors"))
    names = [name for shard in shards for name in load_file(shard)]
    assert "lm_head.weight" not in names
    assert sorted(names) == sorted(load_file(tmp_path / "a" / "model.safetensors"))
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(names)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 200 kB: the kernel refuses the rest, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_fills_up_leaves_nothing_half_written(workshop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(
        UserError, match=r"out: the checkpoint could not be written: .*[Ff]ile too"
    ):
        build_checkpoint(workshop / "target.yaml", out)
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "precious").write_text("old")
    with pytest.raises(UserError, match="could not be written"):
        build_checkpoint(workshop / "target.yaml", out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "precious").read_text() == "old"


def test_a_disk_without_room_is_refused_with_numbers(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(UserError, match=r"out: 1\.7 MiB will be written, but .* 1\.0 MiB free"):
        build_checkpoint(workshop / "target.yaml", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_stop_between_two_renames_gives_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    rename, count = Path.replace, iter(range(9))

    def stopped(self: Path, target: Path) -> Path:
        if next(count) == 1:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt), new_folder(out, overwrite=True) as scratch:
        (scratch / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard_size": "lots"}, "--shard-size must be like 5GB or 200MB, but got 'lots'"),
        ({"shard_size": "0GB"}, "--shard-size must be like 5GB or 200MB"),
        ({"out": "models/base", "overwrite": True}, "base, which is read; choose"),
        (
            {"out": "pairs.jinja", "overwrite": True},
            "must be a folder, but .*pairs.jinja is a file",
        ),
    ],
)
def test_what_would_fail_or_do_harm_is_refused_first(
    workshop: Path, changes: dict[str, Any], message: str
) -> None:
    out = workshop / changes.pop("out", "never")
    with pytest.raises(UserError, match=message):
        build_checkpoint(workshop / "target.yaml", out, **changes)


def test_reward_code_needs_a_reward_head(workshop: Path, tmp_path: Path) -> None:
    write_recipe(_recipe(workshop, reward_head=None), tmp_path / "recipe.yaml")
    with pytest.raises(UserError, match="--reward-code needs a recipe with a `reward_head`"):
        build_checkpoint(tmp_path / "recipe.yaml", tmp_path / "out", reward_code=True)


def test_the_card_reports_scores_parents_and_licences(workshop: Path, tmp_path: Path) -> None:
    cards = {
        "vlm": "license: apache-2.0\nbase_model: someone/else",
        "base": "license: apache-2.0",
        "reward": "license: other\nlicense_name: llama3\nlicense_link: https://terms.example",
    }
    for name, head in cards.items():
        (workshop / "models" / name / "README.md").write_text(f"---\n{head}\n---\n# A model\n")
    score = {"value": 0.75, "low": 0.7, "high": 0.8}
    provenance = {
        "study": "pairs",
        "trial": 7,
        "runtime": {"dtype": "float32"},
        "confirm": {"score": 0.8},
        "test": {"score": score, "objectives": {"a": score, "b": score}, "reads": 3},
    }
    write_recipe(_recipe(workshop, provenance=provenance), tmp_path / "recipe.yaml")
    build_checkpoint(tmp_path / "recipe.yaml", tmp_path / "out", dtype="bfloat16")
    for name in cards:
        (workshop / "models" / name / "README.md").unlink()
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.license is None
    for line in (
        "| confirm: the winner was chosen on it, so a little too high | all | 80.0 |",
        "| test: for reporting alone | all | 75.0 [70.0, 80.0] |",
        "| test | b | 75.0 [70.0, 80.0] |",
        "Study `pairs`, trial 7.",
        "had been read 3 times",
        "Scored in float32, written here in bfloat16",
        "- `vlm`: target, expert; its card says that it was made from someone/else",
        "- `reward`: expert, reward head",
        "- `base`: `apache-2.0`",
        "- `reward`: `other` (llama3, https://terms.example)",
        "The licences differ",
    ):
        assert line in card.text, line


def test_licences_are_quoted_never_guessed() -> None:
    free, other = Parent("a", ("target",), "mit", {}), Parent("b", ("expert",), "apache-2.0", {})
    silent = Parent("c", ("base",))
    assert common_licence([free, free]) == {"license": "mit"}
    assert "so does this card" in licence_section([free, free])
    for parents in ([free, other], [free, silent], [silent, silent]):
        assert common_licence(parents) == {}
        assert "names no licence of its own" in licence_section(parents)
    assert "`c` is not known" in licence_section([free, other, silent])
    assert "differ" in licence_section([free, other, silent])
    assert "differ" not in licence_section([free, silent])


@pytest.mark.parametrize("text", ["no front matter", "---\n- a\n---\n", "---\na: [\n---\n", ""])
def test_a_parents_card_that_cannot_be_read_says_nothing(
    workshop: Path, tmp_path: Path, text: str
) -> None:
    shutil.copytree(workshop / "models", tmp_path / "models")
    (tmp_path / "models" / "vlm" / "README.md").write_text(text)
    assert find_parents(_recipe(tmp_path))[0].licence is None
