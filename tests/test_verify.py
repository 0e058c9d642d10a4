"""Grafts: a target that became its donor computes what the donor computes, in every family."""

from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import LlamaForSequenceClassification

from merge_ops.decoder import find_decoder
from merge_ops.opening import open_models
from merge_ops.verify import donor_recipe, verify_graft
from tests.families import FAMILIES, build, build_text
from tests.tiny import save

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, named like the family, of the models vlm and text."""
    root: Path = tmp_path_factory.mktemp("family") / request.param
    made = FAMILIES[request.param]()
    save(build(made), root / "vlm")
    save(build_text(made.text), root / "text")
    return root


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava") / "vlm"
    save(build(FAMILIES["llava"]()), folder)
    return folder


def donor(folder: Path, **changes: object) -> str:
    """A text model whose config is the family's but for `changes`."""
    config = FAMILIES["llava"]().text.to_dict() | changes
    save(build_text(type(FAMILIES["llava"]().text)(**config)), folder)
    return str(folder)


def test_a_grafted_model_says_what_its_donor_says(family: Path) -> None:
    verified = verify_graft(str(family / "vlm"), str(family / "text"))
    assert verified.compared == "logits"
    assert verified.difference <= 1e-6
    assert verified.largest > 0.1
    own = load_file(family / "text" / "model.safetensors")
    assert verified.lent == ((EMBEDDINGS,) if family.name == "mllama" else ())
    assert verified.grafted == len(own) - len(verified.lent)


def test_language_tensors_go_by_the_text_models_names(family: Path) -> None:
    opened = open_models(donor_recipe(str(family / "vlm"), str(family / "text"), ["embed"]))
    own = load_file(family / "text" / "model.safetensors")
    assert {tensor.name for tensor in opened.tensors} == {n for n in own if "embed" not in n}


@pytest.mark.parametrize("layout", ["as_saved", "as_in_memory"])
def test_all_other_tensors_go_by_their_names_on_disk(
    family: Path, layout: str, tmp_path: Path
) -> None:
    vlm = family / "vlm"
    if layout == "as_in_memory":  # as a newer transformers may write it
        weights = {n: p.detach() for n, p in build(FAMILIES[family.name]()).named_parameters()}
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        copyfile(vlm / "config.json", tmp_path / "config.json")
        vlm = tmp_path
        assert verify_graft(str(vlm), str(family / "text")).difference <= 1e-6
    opened = open_models(donor_recipe(str(vlm), str(vlm), []))
    assert opened.target.places  # each tensor is read by itself
    disk = set(load_file(vlm / "model.safetensors"))
    language = set(find_decoder(opened.target.model).shapes)
    others = [t for t in opened.tensors if opened.own_name(str(vlm), t.name) not in language]
    assert {tensor.name for tensor in others} <= disk
    assert len(opened.tensors) == len(disk)  # models of one class share every parameter
    assert any(t.name.startswith("model.layers.0.self_attn.") for t in opened.tensors)


def test_a_vlm_takes_the_language_model_of_another(family: Path, tmp_path: Path) -> None:
    save(build(FAMILIES[family.name](), seed=5), tmp_path)
    verified = verify_graft(str(family / "vlm"), str(tmp_path))
    assert verified.difference <= 1e-6
    assert verified.lent == ()


def test_a_smaller_vocabulary_is_lent_by_the_donor(llava: Path, tmp_path: Path) -> None:
    verified = verify_graft(str(llava), donor(tmp_path, vocab_size=144))
    assert verified.lent == (EMBEDDINGS, HEAD)
    assert verified.holds


def test_a_tied_donor_fills_an_untied_head(llava: Path, tmp_path: Path) -> None:
    verified = verify_graft(str(llava), donor(tmp_path, tie_word_embeddings=True))
    assert verified.lent == ()
    assert verified.grafted == 2 + 1 + 4 * 9
    assert verified.difference <= 1e-6


def test_a_reward_model_is_compared_by_its_hidden_states(llava: Path, tmp_path: Path) -> None:
    config = FAMILIES["llava"]().text
    config.num_labels = 1
    kind: type[Any] = LlamaForSequenceClassification
    save(kind(config), tmp_path)
    verified = verify_graft(str(llava), str(tmp_path))
    assert verified.compared == "hidden states"
    assert verified.difference <= 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"rms_norm_eps": 1e-2},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16},
    ],
)
def test_a_graft_of_equal_shapes_that_computes_otherwise_is_found_out(
    llava: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    assert not verify_graft(str(llava), donor(tmp_path, **change)).holds
