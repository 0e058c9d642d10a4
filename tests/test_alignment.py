"""`mergetuna align` and `mergetuna families`: what they say, and how they exit."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from merge_ops.alignment import align
from merge_ops.config_differences import config_differences
from merge_ops.decoder import layer_map
from merge_ops.survey import TESTED, multimodal_kinds, survey
from studies import cli
from tests.families import FAMILIES, TEXT, build, build_text
from tests.tiny import save

PAIRED, WITH_A_TEXT_MODEL = 80, 73
"""Of the 112 multimodal models of transformers 5.23: how many pair; with one that has a head."""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mergetuna(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: exit code, output, errors."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mergetuna", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        code = stopped.value.code or 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Mllama, its text model, one with another norm, and one that does not pair."""
    root = tmp_path_factory.mktemp("models")
    family = FAMILIES["mllama"]()
    save(build(family), root / "vlm")
    save(build_text(family.text), root / "text")
    for name, key, value in (("norm", "rms_norm_eps", 1e-3), ("wide", "hidden_size", 64)):
        config = type(family.text)(**{**TEXT, key: value})
        save(build_text(config), root / name)
    return root


def test_alignment_says_what_meets_and_what_stays(models: Path) -> None:
    found = align(str(models / "vlm"), str(models / "text"))
    assert layer_map(found.layers) == "0 -> 0, 1-2 -> 2-3, 3 -> 5"
    assert found.depths == (4, 6)
    assert found.merged == {"layers": 36, "final norm": 1}
    assert set(found.kept) == {
        "layers of another kind", "embeddings and head", "projector", "towers",
    }  # fmt: skip
    assert found.unused == {"embeddings and head": 2}
    assert found.differences == ()
    turned = align(str(models / "text"), str(models / "vlm"))
    assert layer_map(turned.layers) == "0 -> 0, 2-3 -> 1-2, 5 -> 3"


@pytest.mark.parametrize("name", FAMILIES)
def test_configs_of_a_family_and_its_text_model_differ_in_nothing(name: str) -> None:
    family = FAMILIES[name]()
    both_ways = ["attention in both directions is True in the target and not set in the expert"]
    expected = both_ways if name.startswith("paligemma") else []
    assert config_differences(family.config, family.text) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rms_norm_eps": 1e-5}, "norm epsilon is 1e-06 in the target and 1e-05 in the expert"),
        ({"hidden_act": "gelu"}, "activation is silu in the target and gelu in the expert"),
        ({"vocab_size": 144}, "vocabulary is 160 in the target and 144 in the expert"),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
            "rotary theta is 10000 in the target and 500000 in the expert",
        ),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 8.0}},
            "rotary factor is not set in the target and 8 in the expert",
        ),
        (
            {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16},
            "attention heads is 4 in the target and 2 in the expert",
        ),
    ],
)
def test_a_config_that_computes_otherwise_is_named(
    change: dict[str, object], expected: str
) -> None:
    family = FAMILIES["llava"]()
    assert expected in config_differences(family.config, type(family.text)(**{**TEXT, **change}))


def test_align_verifies_a_graft(models: Path, mergetuna: Run) -> None:
    code, out, err = mergetuna("align", models / "vlm", models / "text")
    assert (code, err) == (0, "")
    assert "0 -> 0, 1-2 -> 2-3, 3 -> 5" in out
    assert "verified: logits differ by at most 0 " in out
    assert "model.embed_tokens.weight lent by the expert" in out


def test_align_warns_and_exits_with_1_if_the_graft_computes_otherwise(
    models: Path, mergetuna: Run
) -> None:
    code, out, err = mergetuna("align", models / "vlm", models / "norm")
    assert code == 1
    assert "FAILED: logits differ" in out
    assert err == "warning: norm epsilon is 1e-06 in the target and 0.001 in the expert\n"
    code, out, _ = mergetuna("align", "--no-verify", models / "vlm", models / "norm")
    assert code == 0
    assert "not verified" in out


def test_align_exits_with_2_and_one_line_if_models_do_not_pair(
    models: Path, mergetuna: Run
) -> None:
    code, out, err = mergetuna("align", models / "vlm", models / "wide")
    assert (code, out) == (2, "")
    assert "model.layers.0.mlp.down_proj.weight is (64, 48) against (32, 48)" in err
    assert err.count("\n") == 1
    code, _, err = mergetuna("align", models / "vlm", models / "texd")
    assert code == 2
    assert "did you mean 'text'?" in err


def test_families_lists_what_is_tested(mergetuna: Run) -> None:
    assert {FAMILIES[name]().config.model_type for name in FAMILIES} == set(TESTED)
    code, out, _ = mergetuna("families")
    assert code == 0
    assert f"{len(TESTED)} of {len(TESTED)} pair" in out
    assert "0-2 -> 0-2, 3-6 -> 4-7" in out  # Mllama's 32 text layers among 40


def test_a_text_model_of_a_few_of_the_layers_is_not_the_models_own() -> None:
    assert not survey("ernie4_5_vl_moe").pairs  # the dense ernie4_5 is like its first layer alone


@pytest.mark.slow
def test_multimodal_models_of_transformers_pair() -> None:
    """Every one of them, in full size and without weights; the numbers may only grow."""
    found = [survey(kind) for kind in multimodal_kinds()]
    for one in found:
        layers = f"{len(one.partners)} of {one.layers}" if one.pairs else one.reason[:90]
        alone = " (decoder alone)" if one.backbone else ""
        sys.stdout.write(f"{one.kind:<26} {one.text + alone:<42} {layers}\n")
    paired = [one for one in found if one.pairs]
    sys.stdout.write(f"{len(paired)} of {len(found)} pair\n")
    assert len(paired) >= PAIRED
    assert sum(not one.backbone for one in paired) >= WITH_A_TEXT_MODEL
    assert all(one.reason for one in found if not one.pairs)
