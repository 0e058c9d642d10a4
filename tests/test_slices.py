"""Slices of equal depth against mergekit, and the shapes that are refused."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from merge_ops import merge_tensor
from merge_ops.errors import UserError
from merge_ops.layout import Layout, MisfitError
from merge_ops.lowering import lower
from merge_ops.recipe import Recipe, Slice, Source
from merge_ops.recipe_text import recipe_text
from merge_ops.recipe_yaml import parse_recipe, read_recipe
from merge_ops.registry import get_op
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from merge_ops.slices import ABSENT_AT_ZERO
from studies.export import build_checkpoint
from tests.tiny import save, tiny_llama

# tests/golden/README.md says how these were made, with mergekit 0.1.5
GOLDEN = Path(__file__).parent / "golden" / "slices"
CASES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))
FLOAT32 = 1e-6  # of the tensor's largest magnitude; measured: 2e-7


@pytest.fixture(scope="module")
def golden() -> dict[str, dict[str, Tensor]]:
    """The models, and what mergekit made of them, by their names."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(GOLDEN / "tensors.safetensors").items():
        owner, _, name = key.partition("/")
        found.setdefault(owner, {})[name] = value
    return found


@pytest.fixture(scope="module")
def workshop(
    golden: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the golden models and recipes."""
    root = tmp_path_factory.mktemp("slices")
    for name in ("base", "a", "b"):
        save(tiny_llama(0, layers=4), root / name)
        save_file(golden[name], root / name / "model.safetensors", metadata={"format": "pt"})
    for case in CASES:
        (root / f"{case}.yaml").write_text((GOLDEN / f"{case}.yaml").read_text())
    return root


@pytest.mark.parametrize("case", CASES)
def test_slices_match_mergekit(
    case: str, workshop: Path, golden: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    build_checkpoint(workshop / f"{case}.yaml", tmp_path / "out")
    got, want = load_file(tmp_path / "out" / "model.safetensors"), golden[case]
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert (got[name] - value).abs().max() <= FLOAT32 * value.abs().max(), name
    written = tmp_path / "out" / "recipe.yaml"
    assert "layer_range" not in written.read_text()
    build_checkpoint(written, tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(again[name], value) for name, value in got.items())


def test_the_golden_values_tell_slices_apart_from_no_slices(
    golden: dict[str, dict[str, Tensor]],
) -> None:
    name = "model.layers.2.self_attn.q_proj.weight"
    assert len({float(golden[case][name].sum()) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("method", sorted(ABSENT_AT_ZERO))
def test_a_model_of_weight_0_is_as_if_it_were_not_there(method: str) -> None:
    draw = torch.Generator().manual_seed(5)
    base, a, b = (torch.randn(12, 10, generator=draw) for _ in range(3))
    params: dict[str, Any] = {"density": 0.6} if "density" in get_op(method).knobs else {}
    both = merge_tensor(method, base, [a, b], weight=[0.7, 0.0], **params)
    alone = merge_tensor(method, base, [a], weight=[0.7], **params)
    torch.testing.assert_close(both, alone, rtol=0, atol=1e-6)


FILE = """\
slices:
  - sources:
      - model: base
        layer_range: [0, 2]
      - model: a
        layer_range: [0, 2]
        parameters: {t: 1}
  - sources:
      - {model: base, layer_range: [2, 4]}
      - {model: a, layer_range: [2, 4]}
    parameters: {t: 0.5}
merge_method: slerp
base_model: base
"""
GOOD = FILE.replace("        parameters: {t: 1}\n", "")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("", ""), None),
        (("[2, 4]", "[3, 4]"), "r.yaml:8:23: slices.1.sources.0.layer_range: slices must name"),
        (("[2, 4]", "[1, 4]"), "so this one begins at 2, but is [1, 4]"),
        (("[0, 2]", "[1, 2]"), "r.yaml:4:9: slices.0.sources.0.layer_range: slices must name eve"),
        (("[0, 2]", "[2, 2]"), "must be [first, end] with first < end"),
        (("[0, 2]", "[0, 2, 3]"), "r.yaml:4:9: slices.0.sources.0.layer_range: List should have"),
        (
            ("a, layer_range: [2, 4]", "a, layer_range: [0, 2]"),
            "r.yaml:9:20: slices.1.sources.1.layer_range: all sources of a slice must have one la",
        ),
        (("layer_range: [0", "layer_rnage: [0"), "unknown key, did you mean 'layer_range'?"),
        (("{t: 0.5}", "{tt: 0.5}"), "slices.1.parameters.tt: slerp has no parameter 'tt', did"),
        (
            ("    parameters", "    base_model: a\n    parameters"),
            "a base of its own; put base_mo",
        ),
        (("{model: a,", "{model: aa,"), "r.yaml:9:10: slices.1.sources.1.model: 'aa' is neither"),
        (("{model: a,", "{model: base,"), "slices.1.sources: a model may stand once in a slice"),
        (("{model: a,", "{model: b,"), "slerp must merge the same models in every slice"),
        (("base_model: base", "models: [{model: a}]"), "`models` or `slices`, not both"),
        (("slices:\n", "slices: []\nsclices:\n"), "sclices: unknown key, did you mean 'slices'?"),
        (("slerp", "naive_mc"), "slices: naive_mc rewrites the whole depth; write models:"),
    ],
)
def test_other_shapes_are_refused_with_their_place(
    tmp_path: Path, change: tuple[str, str], expected: str | None
) -> None:
    for name in ("base", "a", "b"):
        (tmp_path / name).mkdir()
    assert change[0] in GOOD
    text = GOOD.replace(*change, 1) if change[0] else GOOD
    if expected is None:
        assert len(parse_recipe(text, tmp_path / "r.yaml").slices) == 2
        return
    with pytest.raises(UserError, match=re.escape(expected)):
        parse_recipe(text, tmp_path / "r.yaml")


def test_a_parameter_of_all_models_cannot_stand_at_one(tmp_path: Path) -> None:
    for name in ("base", "a"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        UserError, match=r"r\.yaml:7:22: slices\.0\.sources\.1\.parameters\.t: t h"
    ):
        parse_recipe(FILE, tmp_path / "r.yaml")


@pytest.mark.parametrize("end", [3, 5])
def test_slices_must_end_where_the_models_end(workshop: Path, tmp_path: Path, end: int) -> None:
    recipe = workshop / f"short-{end}.yaml"
    recipe.write_text(GOOD.replace("[2, 4]", f"[2, {end}]"))
    with pytest.raises(UserError, match=rf"-{end}\.yaml:1:1: slices: they end at layer {end}, bu"):
        build_checkpoint(recipe, tmp_path / "out")


def test_slices_are_never_merged_or_written_as_they_are(workshop: Path) -> None:
    recipe = read_recipe(workshop / "slerp.yaml")
    resident = load_resident(recipe, Runtime())
    with pytest.raises(UserError, match="slerp in slices must be lowered"):
        resident.become(recipe)
    with pytest.raises(ValueError, match="written after `lower`"):
        recipe_text(recipe, workshop)
    layout = Layout(resident.layers, tuple(resident.merged_names))
    lowered = lower(recipe, layout)
    resident.become(lowered)
    assert lower(lowered, layout) is lowered


def test_the_digest_covers_slices() -> None:
    def sliced(end: int) -> Recipe:
        parts = (Slice(0, end, (Source("a"),)), Slice(end, 4, (Source("a"),)))
        return Recipe("linear", (Source("a"),), slices=parts)

    assert sliced(1).digest() != sliced(2).digest()
    assert sliced(1).digest() != replace(sliced(1), slices=()).digest()


def test_a_base_without_use_is_not_left_for_mergekit_to_merge() -> None:
    parts = (Slice(0, 1, (Source("a"),)), Slice(1, 2, (Source("b"),)))
    recipe = Recipe("passthrough", (Source("a"), Source("b")), "base", slices=parts)
    names = tuple(f"model.layers.{i}.x.weight" for i in range(2))
    lowered = lower(recipe, Layout(2, names))
    assert (lowered.method, lowered.base_model, lowered.kept_from()) == ("linear", None, "base")
    with pytest.raises(MisfitError, match="end at layer 2, but the models have 3 layers"):
        lower(recipe, Layout(3, names))
