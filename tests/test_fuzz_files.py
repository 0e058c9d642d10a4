"""Damaged reward heads, recipes, and models at the command line: one line, and no traceback."""

import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file

from merge_ops.errors import UserError
from merge_ops.loading import load_model, load_score_head
from merge_ops.recipe_yaml import read_recipe
from studies import cli
from tests.adapters import factors_for, save_adapter
from tests.fuzz_mutations import (
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    mutate,
    mutate_text,
    mutate_weights,
    write_files,
)
from tests.fuzz_oracle import stored
from tests.tiny import save, tiny_llama


def refusal(call: Callable[[], object]) -> str | None:
    """What a call is refused with, or nothing."""
    try:
        call()
    except UserError as error:
        return str(error)
    return None


def test_damaged_reward_heads(tmp_path: Path) -> None:
    weight = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    save_file({"score.weight": weight}, tmp_path / "head.safetensors")
    sound = (tmp_path / "head.safetensors").read_bytes()
    refused = 0
    for seed in range(400):
        files = {WEIGHTS: mutate_weights(sound, Random(seed)), CONFIG: b"{}"}
        folder = tmp_path / f"case{seed}"
        write_files(folder, files)
        said = refusal(lambda folder=folder: load_score_head(str(folder)))  # type: ignore[misc]
        if said is None:
            head = load_score_head(str(folder))
            assert torch.equal(head.weight.float(), stored(files)["score.weight"])
            continue
        refused += 1
        assert folder.name in said
        assert "\n" not in said
    assert 300 < refused < 400


@pytest.mark.parametrize(
    "seeds", [range(100), pytest.param(range(1000, 3000), marks=pytest.mark.slow)]
)
def test_damaged_adapters(seeds: range, tmp_path: Path) -> None:
    """Refused in one line that names the folder, or what the files say is added, and no more."""
    model = tiny_llama(0, layers=1)
    save(model, tmp_path / "model")
    own = {name: value.detach().clone() for name, value in model.named_parameters()}
    save_adapter(tmp_path / "sound", factors_for(model, "q_proj", "down_proj"))
    names = {CONFIG: "adapter_config.json", WEIGHTS: "adapter_model.safetensors"}
    sound = {to: (tmp_path / "sound" / name).read_bytes() for to, name in names.items()}
    accepted = 0
    for seed in seeds:
        _, files = mutate({**sound, TOKENIZER: b"{}"}, Random(seed))
        folder = tmp_path / f"case{seed}"
        write_files(folder, {names[key]: files[key] for key in names if key in files})
        reference = f"{tmp_path / 'model'}+{folder}"
        found: list[torch.nn.Module] = []
        said = refusal(lambda r=reference, f=found: f.append(load_model(r, "float32")))  # type: ignore[misc]
        if said is not None:
            assert folder.name in said, (seed, said)
            assert "\n" not in said
            continue
        accepted += 1
        stated, tensors = json.loads(files[CONFIG]), stored(files)
        expected = dict(own)
        for key, a in tensors.items():
            module, is_a, _ = key.partition(".lora_A.")  # behind it, an adapter's name may stand
            if is_a:
                name = module.removeprefix("base_model.model.") + ".weight"
                (b,) = (t for k, t in tensors.items() if k.startswith(f"{module}.lora_B."))
                scale = stated.get("lora_alpha", 8) / stated.get("r", 8)  # PEFT's defaults
                expected[name] = own[name] + scale * (b @ a)
        for name, value in found[0].named_parameters():
            torch.testing.assert_close(value, expected[name], msg=f"seed {seed}: {name}")
    assert 0 < accepted < len(seeds) // 2


def test_damaged_recipes(tmp_path: Path) -> None:
    sound = (
        b"merge_method: ties\nbase_model: ./base\nmodels:\n  - model: ./a\n    parameters:\n"
        b"      weight: [{filter: mlp, value: 0.5}, {value: 1.0}]\n      density: 0.5\n"
        b"dtype: float32\nmergetuna: {version: 1, target: ./base, exclude: [embed], seed: 17}\n"
    )
    for name in ("base", "a"):
        (tmp_path / name).mkdir()
    path, refused = tmp_path / "recipe.yaml", 0
    path.write_bytes(sound)
    read_recipe(path)
    for seed in range(400):
        path.write_bytes(mutate_text(sound, Random(seed)))
        said = refusal(lambda: read_recipe(path))
        if said is not None:
            refused += 1
            assert "recipe.yaml" in said
            assert all(line.strip() for line in said.splitlines())
    assert 200 < refused < 400


def test_the_command_line_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tiny_llama(0, layers=1), tmp_path / "sound")
    save(tiny_llama(1, layers=1), tmp_path / "other")
    files = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    codes: Counter[int] = Counter()
    for seed in range(12):
        folder, out = tmp_path / f"case{seed}", tmp_path / f"out{seed}"
        write_files(folder, mutate(files, Random(seed))[1])
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            "merge_method: linear\nparameters: {weight: 1.0}\n"
            f"models: [{{model: {tmp_path / 'sound'}}}, {{model: {folder}}}]\n"
        )
        monkeypatch.setattr(sys, "argv", ["mergetuna", "merge", str(recipe), "--out", str(out)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(SystemExit) as stopped:
                cli.main()
        code, said = int(stopped.value.code or 0), capsys.readouterr().err
        codes[code] += 1
        assert code in {0, 2}, said
        assert out.exists() == (code == 0)
        assert "Traceback" not in said
        assert code == 0 or folder.name in said.splitlines()[-1]
    assert codes[0]
    assert codes[2]
