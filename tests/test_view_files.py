"""Masks as bits beside the exported unified model, and views rebuilt from files alone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from merge_ops.bits import pack, unpack
from merge_ops.errors import UserError
from merge_ops.methods.emr import unified, view
from merge_ops.recipe_text import write_recipe
from merge_ops.task_vectors import task_vectors
from merge_ops.view_files import MASKS_FILE, read_views
from merge_ops.view_recipes import view_of
from merge_ops.views import apply_view
from studies.export import build_checkpoint
from tests.views import ODD, live, recipe_of, weights_of


@given(st.lists(st.booleans(), max_size=40))
def test_a_mask_takes_one_bit_an_entry_and_comes_back(entries: list[bool]) -> None:
    mask = torch.tensor(entries, dtype=torch.bool)
    bits = pack(mask)
    assert (bits.dtype, bits.shape) == (torch.uint8, ((len(entries) + 7) // 8,))
    assert torch.equal(unpack(bits, mask.shape), mask)
    for k, entry in enumerate(entries):
        assert bool(int(bits[k // 8]) & (1 << k % 8)) == entry


@pytest.fixture(scope="module")
def exported(near: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    write_recipe(recipe_of(near), folder / "recipe.yaml")
    build_checkpoint(folder / "recipe.yaml", folder / "out")
    return folder / "out"


def test_the_export_holds_the_unified_model_and_a_bit_for_every_entry(
    near: dict[str, str], exported: Path
) -> None:
    recipe = recipe_of(near)
    stored = weights_of(str(exported))
    for name, tensor in live(recipe).items():
        assert torch.equal(tensor, stored[name])
    base, a, b = map(weights_of, (near["base"], near["a"], near["b"]))
    masks = load_file(exported / MASKS_FILE)
    entries = sum(t.numel() for t in stored.values())
    bits = sum(t.numel() for key, t in masks.items() if key.startswith("mask."))
    assert bits == 2 * sum((t.numel() + 7) // 8 for t in stored.values())
    header = int.from_bytes((exported / MASKS_FILE).read_bytes()[:8], "little")
    size = (exported / MASKS_FILE).stat().st_size - header - 8
    assert size == bits + 2 * 4 * len(stored)
    assert 8 * bits <= 2 * (entries + 7 * len(stored))
    for name in stored:
        taus = task_vectors(base[name], [a[name], b[name]])
        for i, tau in enumerate(taus):
            mask, rescaler = view(tau, unified(taus))
            assert torch.equal(unpack(masks[f"mask.{i}.{name}"], mask.shape), mask)
            assert torch.equal(masks[f"rescaler.{i}.{name}"], rescaler)
    with safe_open(exported / MASKS_FILE, "pt") as file:
        assert json.loads(file.metadata()["tasks"]) == ["first", ODD]
    card = (exported / "README.md").read_text()
    assert f"- 1: `{ODD}`, expert `b`" in card
    assert "apply_view(Path(\".\"), 'first'" in card


@pytest.mark.parametrize("task", ["first", ODD])
def test_a_rebuilt_view_is_the_live_view_bit_for_bit(
    near: dict[str, str], exported: Path, task: str
) -> None:
    model = apply_view(exported, task, near["base"])
    wanted = live(view_of(recipe_of(near), task))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, wanted[name]), name


def test_the_card_describes_the_files_well_enough_for_numpy(
    near: dict[str, str], exported: Path
) -> None:
    base, whole, views = (
        {name: tensor.numpy() for name, tensor in load_file(path).items()}
        for path in (
            Path(near["base"]) / "model.safetensors",
            exported / "model.safetensors",
            exported / MASKS_FILE,
        )
    )
    for name, want in live(view_of(recipe_of(near), ODD)).items():
        bits = views[f"mask.1.{name}"]
        mask = np.unpackbits(bits, bitorder="little", count=want.numel()).reshape(want.shape)
        tau = whole[name] - base[name]
        got = base[name] + views[f"rescaler.1.{name}"] * (mask * tau)
        torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_far_experts_come_back_within_the_stated_rounding(
    llamas: dict[str, str], tmp_path: Path, dtype: str
) -> None:
    recipe = recipe_of(llamas, dtype=dtype)
    write_recipe(recipe, tmp_path / "recipe.yaml")
    build_checkpoint(tmp_path / "recipe.yaml", tmp_path / "out")
    step = torch.finfo(getattr(torch, dtype)).eps
    masks = load_file(tmp_path / "out" / MASKS_FILE)
    base, whole = weights_of(llamas["base"]), weights_of(str(tmp_path / "out"))
    for i, task in enumerate(recipe.tasks):
        wanted = live(view_of(recipe, task))
        for name, got in apply_view(tmp_path / "out", task, llamas["base"]).named_parameters():
            rescaler = float(masks[f"rescaler.{i}.{name}"])
            largest = torch.maximum(base[name].float().abs(), whole[name].float().abs())
            result = torch.maximum(got.float().abs(), wanted[name].float().abs())
            bound = step * (2 * max(rescaler, 1) * largest + result)
            assert bool(((got.float() - wanted[name].float()).abs() <= bound).all()), name


def test_merging_one_task_writes_that_view_as_a_plain_checkpoint(
    near: dict[str, str], tmp_path: Path
) -> None:
    recipe = recipe_of(near)
    write_recipe(recipe, tmp_path / "recipe.yaml")
    build_checkpoint(tmp_path / "recipe.yaml", tmp_path / "out", task=ODD)
    assert not (tmp_path / "out" / MASKS_FILE).exists()
    wanted = live(view_of(recipe, ODD))
    assert all(torch.equal(t, wanted[n]) for n, t in weights_of(str(tmp_path / "out")).items())
    assert f"the view of `{ODD}`" in (tmp_path / "out" / "README.md").read_text()
    build_checkpoint(tmp_path / "out" / "recipe.yaml", tmp_path / "again")
    first, second = (tmp_path / n / "model.safetensors" for n in ("out", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_dtype_that_would_blur_the_views_is_refused_at_once(
    near: dict[str, str], tmp_path: Path
) -> None:
    write_recipe(recipe_of(near), tmp_path / "recipe.yaml")
    write_recipe(recipe_of(near, dtype=None, out_dtype="bfloat16"), tmp_path / "own.yaml")
    for name, dtype in (("recipe.yaml", "bfloat16"), ("own.yaml", None)):
        with pytest.raises(UserError, match=r"must keep the dtype of the merge, torch\.float32"):
            build_checkpoint(tmp_path / name, tmp_path / "out", dtype=dtype)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["own.yaml", "recipe.yaml"]
    build_checkpoint(tmp_path / "recipe.yaml", tmp_path / "out", dtype="bfloat16", task="first")


def test_views_fit_only_their_own_base(near: dict[str, str], exported: Path) -> None:
    with pytest.raises(UserError, match="were made with another base model"):
        apply_view(exported, "first", near["a"])
    with pytest.raises(UserError, match="there is no task 'frist', did you mean 'first'"):
        apply_view(exported, "frist", near["base"])


HURT: dict[str, tuple[str, Callable[[Tensor], Tensor] | None, str]] = {
    "shape": ("mask.0.model.norm.weight", lambda t: t[:-1], "must be 2 bytes, one bit for each"),
    "flat": ("mask.0.model.norm.weight", lambda t: t[None], "must be 2 bytes, one bit for each"),
    "dtype": ("mask.0.model.norm.weight", lambda t: t.short(), "of torch.int16"),
    "infinite": ("rescaler.0.model.norm.weight", lambda t: t / 0, "must be one finite float32"),
    "negative": ("rescaler.0.model.norm.weight", lambda t: -t - 1, "not negative"),
    "many": ("rescaler.0.model.norm.weight", lambda t: t[None], "must be one finite float32"),
    "missing": ("rescaler.1.model.norm.weight", None, "the file is incomplete"),
}


def copy_of(exported: Path, folder: Path) -> Path:
    for path in exported.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / MASKS_FILE


@pytest.mark.parametrize("case", HURT)
def test_a_tampered_file_of_masks_is_refused_by_name(
    near: dict[str, str], exported: Path, tmp_path: Path, case: str
) -> None:
    key, change, expected = HURT[case]
    path = copy_of(exported, tmp_path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    hurt = tensors.pop(key)
    if change is not None:
        tensors[key] = change(hurt).contiguous()
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(UserError) as caught:
        apply_view(tmp_path, "first", near["base"])
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tasks": "[1, 2]"}, "`tasks` must be a JSON list of different names"),
        ({"tasks": "[" * 5000}, "`tasks` must be a JSON list of different names"),
        ({"tasks": '["a", "a"]'}, "`tasks` must be a JSON list of different names"),
        ({"tasks": json.dumps([str(i) for i in range(10**5)])}, "the file is incomplete"),
        ({"version": "2"}, "must hold EMR masks of version 1"),
        ({"dtype": "float8"}, "`dtype` must be one of float32"),
    ],
)
def test_metadata_from_a_stranger_is_not_trusted(
    exported: Path, tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    path = copy_of(exported, tmp_path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata=metadata | changes)
    with pytest.raises(UserError) as caught:
        read_views(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize("size", [0, 4, 40, -1])
def test_a_truncated_file_of_masks_is_said_to_be_damaged(
    exported: Path, tmp_path: Path, size: int
) -> None:
    path = copy_of(exported, tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="the file is damaged or no safetensors file"):
        read_views(path)
    path.unlink()
    with pytest.raises(UserError, match="there is no such file; the export of an emr recipe"):
        read_views(path)


def test_bits_beyond_the_last_entry_are_refused(tmp_path: Path, exported: Path) -> None:
    tensors = {f"rescaler.{i}.x": torch.ones(()) for i in (0, 1)}
    tensors |= {f"mask.{i}.x": torch.tensor([255], dtype=torch.uint8) for i in (0, 1)}
    with safe_open(exported / MASKS_FILE, "pt") as file:
        save_file(tensors, tmp_path / MASKS_FILE, metadata=file.metadata())
    shapes = {"x": torch.Size([3])}
    with pytest.raises(UserError, match="has bits set beyond its last entry"):
        list(read_views(tmp_path / MASKS_FILE).masks("first", shapes))
    with pytest.raises(UserError, match="the masks are of another model"):
        list(read_views(exported / MASKS_FILE).masks("first", shapes))
