"""Pickled models and adapters, ModelCompose's among them, become safetensors; with a flag only."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.loading import load_model
from merge_ops.old_layouts.conversion import convert
from tests.tiny import tiny_llama

IDS = torch.arange(3, 15)[None]
RANK, ALPHA = 4, 8


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits  # type: ignore[no-any-return]


def pickled_llama(folder: Path, *, files: int = 1, legacy: bool = False) -> tuple[Path, Any]:
    """A tiny Llama as models were published before safetensors."""
    model = tiny_llama(0)
    folder.mkdir()
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "modeling_old.py").write_text("raise RuntimeError('remote code was run')")
    state = model.state_dict()
    names = sorted(state)
    if files == 1:
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
        return folder, model
    placed: dict[str, str] = {}
    for n in range(files):
        file = f"pytorch_model-{n + 1:05}-of-{files:05}.bin"
        torch.save({name: state[name] for name in names[n::files]}, folder / file)
        placed |= dict.fromkeys(names[n::files], file)
    index = {"metadata": {}, "weight_map": placed}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder, model


@pytest.mark.parametrize(("files", "legacy"), [(1, False), (1, True), (3, False)])
def test_a_pickled_model(tmp_path: Path, files: int, legacy: bool) -> None:
    source, model = pickled_llama(tmp_path / "old", files=files, legacy=legacy)
    with pytest.raises(UserError, match=r"pickles \(pytorch_model") as refused:
        model_folder(str(source))
    assert f"mergetuna convert {source} OUT --allow-pickle" in str(refused.value)
    with pytest.raises(UserError, match="--allow-pickle"):
        convert(str(source), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    convert(str(source), tmp_path / "new", allow_pickle=True)
    assert torch.equal(logits(load_model(str(tmp_path / "new"), None)), logits(model))
    assert sorted(path.suffix for path in (tmp_path / "new").iterdir()) == [
        *[".json"] * len(list(source.glob("*config.json"))),
        ".safetensors",
    ]


class Trap:
    """What a hostile pickle does as it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("trap-was-sprung"),))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"a": Trap()}, "weights and nothing else"),
        (["no", "names"], "holds list"),
        ({"state_dict": {"a": torch.zeros(1)}}, "'state_dict' is dict"),
        ({}, "tensors by name"),
    ],
)
def test_a_pickle_of_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source, _ = pickled_llama(tmp_path / "old")
    torch.save(content, source / "pytorch_model.bin")
    with pytest.raises(UserError, match=expected) as refused:
        convert(str(source), tmp_path / "new", allow_pickle=True)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]


@pytest.mark.parametrize("kept", [0, 1, 40, 0.5])
def test_a_pickle_that_is_cut_short(tmp_path: Path, kept: float) -> None:
    source, _ = pickled_llama(tmp_path / "old")
    path = source / "pytorch_model.bin"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept == 0.5 else int(kept)])
    with pytest.raises(UserError, match=r"pytorch_model.bin: it must be a pickle of weights"):
        convert(str(source), tmp_path / "new", allow_pickle=True)


def test_a_file_that_the_index_names_is_missing(tmp_path: Path) -> None:
    source, _ = pickled_llama(tmp_path / "old", files=3)
    (source / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(UserError, match=r"1 are not: pytorch_model-00002-of-00003.bin"):
        convert(str(source), tmp_path / "new", allow_pickle=True)


def test_tied_weights_are_read_back(tmp_path: Path) -> None:
    model = tiny_llama(0, tied=True)
    model.config.architectures = ["LlamaForCausalLM"]
    (tmp_path / "old").mkdir()
    model.config.save_pretrained(tmp_path / "old")
    torch.save(model.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    convert(str(tmp_path / "old"), tmp_path / "new", allow_pickle=True)
    assert torch.equal(logits(load_model(str(tmp_path / "new"), None)), logits(model))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = pickled_llama(tmp_path / "old")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(UserError, match=r"writing needs 0.1 GB of disk, but 0.0 GB are free"):
        convert(str(source), tmp_path / "new", allow_pickle=True)
    assert not (tmp_path / "new").exists()


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    source, _ = pickled_llama(tmp_path / "old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "precious").touch()
    with pytest.raises(UserError, match="--overwrite"):
        convert(str(source), tmp_path / "new", allow_pickle=True)
    assert (tmp_path / "new" / "precious").exists()
    convert(str(source), tmp_path / "new", allow_pickle=True, overwrite=True)
    assert not (tmp_path / "new" / "precious").exists()
    with pytest.raises(UserError, match="must not touch the old one"):
        convert(str(source), source, allow_pickle=True, overwrite=True)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from studies.cli import main

    monkeypatch.setattr("studies.step_progress._APART_S", 0.0)  # a log's lines, at once
    source, _ = pickled_llama(tmp_path / "old")

    def run(*arguments: str) -> tuple[int, str, str]:
        called = ["mergetuna", "convert", str(source), str(tmp_path / "new"), *arguments]
        monkeypatch.setattr("sys.argv", called)
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    code, _, said = run()
    assert (code, said.count("\n")) == (2, 1)
    assert "Pass --allow-pickle" in said
    code, printed, said = run("--allow-pickle", "--json")
    result = json.loads(printed)
    assert (code, result["layout"], result["tensors"]) == (0, "pickles", 30)
    assert said.splitlines()[-1].endswith("30/30 tensors")
    code, _, said = run("--allow-pickle")
    assert (code, "--overwrite" in said) == (2, True)


def test_a_model_that_needs_nothing(tmp_path: Path) -> None:
    tiny_llama(0).save_pretrained(tmp_path / "fine")
    with pytest.raises(UserError, match="nothing to convert"):
        convert(str(tmp_path / "fine"), tmp_path / "new")


class LocalLora(nn.Module):
    """A linear layer with one LoRA per modality, one of them switched on; ModelCompose's names."""

    def __init__(self, linear: nn.Linear, names: list[str], active: str) -> None:
        super().__init__()
        self.linear, self.active = linear, active
        make = nn.Linear
        self.lora_A = nn.ModuleDict(
            {name: make(linear.in_features, RANK, bias=False) for name in names}
        )
        self.lora_B = nn.ModuleDict(
            {name: make(RANK, linear.out_features, bias=False) for name in names}
        )

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.lora_B[self.active](self.lora_A[self.active](x)) * ALPHA / RANK
        return self.linear(x) + change  # type: ignore[no-any-return]


def composed(folder: Path, names: list[str], active: str, **config: Any) -> Any:
    """A twin of ModelCompose's model; its trained parameters are written as it writes them."""
    torch.manual_seed(3)
    twin: Any = tiny_llama(0)
    for layer in twin.model.layers:
        for part, kind in ((layer.self_attn, "q_proj"), (layer.mlp, "down_proj")):
            setattr(part, kind, LocalLora(getattr(part, kind), names, active))
    state = {name: tensor for name, tensor in twin.state_dict().items() if "lora_" in name}
    state["model.modal_projectors.vision.0.weight"] = torch.ones(3, 3)
    folder.mkdir()
    torch.save(state, folder / "adapter_model.bin")
    content = {"model_type": "multimodal", "lora_r": RANK, "lora_alpha": ALPHA, **config}
    (folder / "config.json").write_text(json.dumps(content))
    return twin


def with_adapter(folder: Path) -> Any:
    """The base with an adapter in peft's layout merged into it."""
    model: Any = tiny_llama(0)
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["target_modules"] == ["down_proj", "q_proj"]
    tensors = load_file(folder / "adapter_model.safetensors")
    parameters = dict(model.named_parameters())
    for key, a in tensors.items():
        if ".lora_A." in key:
            name = key.removeprefix("base_model.model.").replace("lora_A.", "")
            b = tensors[key.replace("lora_A", "lora_B")]
            parameters[name].data += b @ a * settings["lora_alpha"] / settings["r"]
    return model


@pytest.mark.parametrize("active", ["default", "vision"])
def test_an_adapter_for_every_modality(tmp_path: Path, active: str) -> None:
    twin = composed(tmp_path / "old", ["default", "vision"], active)
    with pytest.raises(UserError, match=r"ModelCompose's adapter layout.*--allow-pickle"):
        model_folder(str(tmp_path / "old"))
    with pytest.raises(UserError, match="Pass --allow-pickle"):
        convert(str(tmp_path / "old"), tmp_path / "new")
    converted = convert(str(tmp_path / "old"), tmp_path / "new", allow_pickle=True)
    found = logits(with_adapter(tmp_path / "new" / active))
    assert (found - logits(twin)).abs().max() < 1e-6
    assert (logits(tiny_llama(0)) - logits(twin)).abs().max() > 1e-3
    assert "not for merging" in converted.notes[-1]
    rest = load_file(tmp_path / "new" / "not_lora.safetensors")
    assert list(rest) == ["model.modal_projectors.vision.0.weight"]


def test_one_adapter_stands_alone(tmp_path: Path) -> None:
    twin = composed(tmp_path / "old", ["vision"], "vision", lora_strategy="modal")
    torch.save({"model.prefix": torch.ones(2)}, tmp_path / "old" / "non_lora_trainables.bin")
    convert(str(tmp_path / "old"), tmp_path / "new", allow_pickle=True)
    assert (logits(with_adapter(tmp_path / "new")) - logits(twin)).abs().max() < 1e-6
    assert "model.prefix" in load_file(tmp_path / "new" / "not_lora.safetensors")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"lora_r": 8},
            r"rank 8 \(config.json\) for model.layers.0.mlp.down_proj, but has \[4, 4\]",
        ),
        ({"vision_lora_r": 2}, "adapter 'vision' must have lora_A and lora_B of rank 2"),
        ({"reset_scaling_weights": "vision=0.5"}, "has reset_scaling_weights"),
    ],
)
def test_an_adapter_whose_scale_is_not_known(
    tmp_path: Path, config: dict[str, Any], expected: str
) -> None:
    composed(tmp_path / "old", ["vision"], "vision", **config)
    with pytest.raises(UserError, match=expected):
        convert(str(tmp_path / "old"), tmp_path / "new", allow_pickle=True)


def test_half_an_adapter(tmp_path: Path) -> None:
    composed(tmp_path / "old", ["vision"], "vision")
    state = torch.load(tmp_path / "old" / "adapter_model.bin")
    del state["model.layers.1.self_attn.q_proj.lora_B.vision.weight"]
    torch.save(state, tmp_path / "old" / "adapter_model.bin")
    with pytest.raises(UserError, match=r"layers.1.self_attn.q_proj, but has \[4, None\]"):
        convert(str(tmp_path / "old"), tmp_path / "new", allow_pickle=True)


def test_a_pickled_adapter_of_peft_keeps_its_names(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    tensors = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 3)}
    torch.save(tensors, tmp_path / "old" / "adapter_model.bin")
    (tmp_path / "old" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(UserError, match=r"a LoRA adapter as a pickle.*--allow-pickle"):
        model_folder(str(tmp_path / "old"))
    convert(str(tmp_path / "old"), tmp_path / "new", allow_pickle=True)
    assert load_file(tmp_path / "new" / "adapter_model.safetensors").keys() == tensors.keys()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
