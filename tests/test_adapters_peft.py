"""What PEFT itself makes of an adapter: the same bits. Skipped where PEFT is not installed."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from merge_ops.checkpoint import open_checkpoints
from merge_ops.loading import DTYPES, load_model, load_score_head
from studies.export import build_checkpoint
from tests.families import FAMILIES, build
from tests.tiny import tiny_llama

peft: Any = pytest.importorskip("peft", reason="PEFT is not installed here")


@pytest.fixture(autouse=True)
def _peft_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def train(model: Any, folder: Path, **settings: Any) -> str:
    """Save a model and an adapter on it, as if trained; gives `model+adapter`."""
    model.save_pretrained(folder / "model")
    torch.manual_seed(3)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(init_lora_weights=False, **settings))
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape))
    wrapped.save_pretrained(folder / "adapter")
    return f"{folder}/model+{folder}/adapter"


def merged(reference: str, kind: type[Any], dtype: str) -> Any:
    """The model that PEFT merges."""
    model, adapter = reference.split("+")
    base = kind.from_pretrained(model, dtype=DTYPES[dtype])
    return peft.PeftModel.from_pretrained(base, adapter).merge_and_unload().eval()


def check(reference: str, kind: type[Any], dtype: str = "float32") -> dict[str, Tensor]:
    """Loaded whole and read one by one, all tensors must be PEFT's; gives what was changed."""
    expected = merged(reference, kind, dtype).state_dict()
    loaded = load_model(reference, dtype).state_dict()
    opened = open_checkpoints([reference], dtype)[reference]
    assert opened.adapter is not None
    assert opened.places
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor), name
    for name, _ in opened.model.named_parameters(remove_duplicate=False):
        assert torch.equal(opened.read(name), expected[name]), name
    assert opened.adapter.edits
    return {name: expected[name] for name in opened.adapter.edits}


@pytest.mark.parametrize(("dtype", "dora"), [("float32", False), ("bfloat16", True)])
@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "mllama", "idefics3"])
def test_every_tensor_is_what_peft_merges(
    family: str, tmp_path: Path, dtype: str, dora: bool
) -> None:
    made = FAMILIES[family]()
    reference = train(
        build(made),
        tmp_path,
        r=4,
        lora_alpha=6,
        target_modules=r".*\.(q_proj|v_proj|down_proj|fc1)",
        rank_pattern={"down_proj": 2},
        alpha_pattern={r"layers\.\d+\.self_attn\.v_proj": 3},
        use_rslora=dora,
        use_dora=dora,
    )
    changed = check(reference, made.model, dtype)
    assert any("vision" in name or "visual" in name for name in changed)


@pytest.mark.parametrize(("dtype", "dora"), [("float32", False), ("bfloat16", True)])
def test_weights_that_are_stored_the_other_way_round(
    tmp_path: Path, dtype: str, dora: bool
) -> None:
    config = GPT2Config(
        vocab_size=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    settings = {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True, "use_dora": dora}
    reference = train(GPT2LMHeadModel(config), tmp_path, r=4, **settings)
    check(reference, GPT2LMHeadModel, dtype)


@pytest.mark.parametrize(
    ("settings", "tied", "changed"),
    [
        ({"target_modules": ["embed_tokens", "q_proj"]}, False, "model.embed_tokens.weight"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, True, "lm_head.weight"),
        ({"target_modules": ["lm_head", "q_proj"]}, False, "lm_head.weight"),
        ({"target_modules": ["lm_head", "q_proj"]}, True, "model.embed_tokens.weight"),
        ({"modules_to_save": ["lm_head", "norm"]}, False, "model.norm.weight"),
        ({"target_modules": "all-linear"}, False, "model.layers.2.mlp.gate_proj.weight"),
        ({"layers_to_transform": [1]}, False, "model.layers.1.self_attn.q_proj.weight"),
    ],
)
def test_embeddings_heads_and_whole_modules(
    tmp_path: Path, settings: dict[str, Any], tied: bool, changed: str
) -> None:
    settings = {"target_modules": ["q_proj"], **settings}
    reference = train(tiny_llama(0, tied=tied), tmp_path, r=4, **settings)
    assert changed in check(reference, AutoModelForCausalLM, "bfloat16")


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_trained_biases_replace_the_models(tmp_path: Path, bias: str) -> None:
    config = Qwen2Config(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    kind: Any = Qwen2ForCausalLM
    reference = train(kind(config), tmp_path, r=4, target_modules=["q_proj"], bias=bias)
    changed = check(reference, AutoModelForCausalLM)
    assert sum(name.endswith("bias") for name in changed) == (6 if bias == "all" else 2)


def test_a_reward_models_adapter_brings_its_head(tmp_path: Path) -> None:
    config = tiny_llama(0).config
    config.num_labels, config.pad_token_id = 1, 0
    kind: Any = LlamaForSequenceClassification
    reference = train(kind(config), tmp_path, r=4, target_modules=["q_proj"], task_type="SEQ_CLS")
    expected = merged(reference, kind, "float32")
    assert torch.equal(load_score_head(reference).weight, expected.score.weight)
    check(reference, kind)
    text = tmp_path / "text"
    tiny_llama(0).save_pretrained(text)  # without a head, the adapter's own is no misfit
    on_text = f"{text}+{tmp_path}/adapter"
    assert torch.equal(load_score_head(on_text).weight, expected.score.weight)
    opened = open_checkpoints([on_text], None)[on_text]
    assert opened.adapter is not None
    assert len(opened.adapter.edits) == 3


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_a_merge_of_weight_one_computes_what_peft_merged(family: str, tmp_path: Path) -> None:
    made = FAMILIES[family]()
    target = r".*(language_model|visual|vision).*\.(q_proj|down_proj|fc1)"
    train(build(made), tmp_path, r=4, target_modules=target)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "merge_method: linear\nmodels:\n  - model: model+adapter\n    parameters: {weight: 1}\n"
    )
    build_checkpoint(recipe, tmp_path / "out")
    expected = merged(f"{tmp_path}/model+{tmp_path}/adapter", made.model, "float32")
    got = made.model.from_pretrained(tmp_path / "out").eval()
    tokens = torch.arange(3, 23)[None]
    with torch.no_grad():
        want, have = expected(input_ids=tokens).logits, got(input_ids=tokens).logits
        plain = made.model.from_pretrained(tmp_path / "model").eval()(input_ids=tokens).logits
    assert torch.equal(have, want)
    assert (have - plain).abs().max() > 1e-3
