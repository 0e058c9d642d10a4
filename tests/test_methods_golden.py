"""Merge methods against mergekit and the released codes (tests/golden/README.md)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from merge_ops import merge_tensor
from merge_ops.methods.emr import unified, view
from merge_ops.task_vectors import task_vectors

GOLDEN = Path(__file__).parent / "golden"
CASES: list[dict[str, Any]] = json.loads((GOLDEN / "tensor_cases.json").read_text())
RECIPES: list[dict[str, Any]] = json.loads((GOLDEN / "recipe_cases.json").read_text())
FLOAT32 = 1e-6  # of the tensor's largest magnitude; measured between implementations: 3e-7


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    return dict(load_file(GOLDEN / "tensor_inputs.safetensors"))


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return dict(load_file(GOLDEN / "tensor_expected.safetensors"))


@pytest.fixture(scope="module")
def models() -> dict[str, Tensor]:
    return dict(load_file(GOLDEN / "recipe_tensors.safetensors"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_tensor_matches_the_source(
    case: dict[str, Any], inputs: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    base, want = inputs[case["input"] + ".base"], expected[case["id"]]
    experts = [inputs[f"{case['input']}.expert{i}"] for i in range(case["experts"])]
    statistics = {k: [inputs[n] for n in names] for k, names in case["tensor_params"].items()}
    got = merge_tensor(case["method"], base, experts, **case["params"], **statistics)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert (got - want).abs().max() <= case["tolerance"] * (want - base).abs().max()


@pytest.mark.parametrize("case", [c for c in CASES if c["method"] == "emr"], ids=lambda c: c["id"])
def test_emr_parts_match_the_source(
    case: dict[str, Any], inputs: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    base = inputs[case["input"] + ".base"]
    taus = task_vectors(base, [inputs[f"{case['input']}.expert{i}"] for i in range(3)])
    whole = unified(taus)
    mask, rescaler = view(taus[case["params"]["expert"]], whole)
    torch.testing.assert_close(whole, expected[case["id"] + ".unified"])
    assert torch.equal(mask, expected[case["id"] + ".mask"].bool())
    torch.testing.assert_close(rescaler, expected[case["id"] + ".rescaler"].reshape(()))


@pytest.mark.parametrize("case", RECIPES, ids=lambda case: case["id"])
def test_recipe_tensors_match_mergekit(case: dict[str, Any], models: dict[str, Tensor]) -> None:
    for name, params in case["params"].items():
        experts = [models[f"{expert}/{name}"] for expert in case["experts"]]
        base = models[f"{case['base']}/{name}"] if case["base"] else experts[0]
        if case["dtype"]:
            dtype = getattr(torch, case["dtype"])
            base, experts = base.to(dtype), [expert.to(dtype) for expert in experts]
        got = merge_tensor(case["method"], base, experts, **params)
        if case["out_dtype"]:
            got = got.to(getattr(torch, case["out_dtype"]))
        want = models[f"{case['id']}/{name}"]
        assert got.dtype == want.dtype
        a, b = got.float(), want.float()
        gap = (a - b).abs()
        if want.dtype == torch.bfloat16:  # one step of bfloat16 is forgiven
            gap = gap - torch.maximum(a.abs(), b.abs()) / 128
        assert gap.max() <= FLOAT32 * b.abs().max(), name
