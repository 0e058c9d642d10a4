"""The file of statistics: what a recipe says of it, and what is said of one that does not fit."""

import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.expert_statistics import HeldStatistics, linears_of, statistics_shapes
from merge_ops.hub import weights_sha256
from merge_ops.recipe import Entry, Recipe, Source, StatisticsRef
from merge_ops.recipe_text import recipe_text
from merge_ops.recipe_yaml import parse_recipe, read_recipe
from merge_ops.registry import get_op
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from merge_ops.statistics_file import METADATA, Header, file_sha256
from merge_ops.statistics_writer import new_statistics, total_bytes
from studies import cli
from tests.tiny import tiny_llama

NAME = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def resident(llamas: dict[str, str]) -> ResidentModel:
    models = tuple(Source(llamas[name]) for name in ("a", "b"))
    return load_resident(Recipe("linear", models, dtype="float32"), Runtime())


def write(
    path: Path, resident: ResidentModel, llamas: dict[str, str], kind: str = "regmean"
) -> dict[str, tuple[int, ...]]:
    """A whole file of random statistics of the experts a and b."""
    shapes = statistics_shapes(get_op(kind), resident.module, resident.parameters)
    models = [weights_sha256(llamas[name]) for name in ("a", "b")]
    generator = torch.Generator().manual_seed(3)
    with new_statistics(path, Header(kind=kind, models=models, collected={}), shapes) as writer:
        for expert in range(2):
            for name, shape in shapes.items():
                x = torch.randn(shape, generator=generator)
                writer.write(expert, name, x @ x.T if kind.startswith("regmean") else x**2)
    return shapes


@pytest.fixture
def recipe(llamas: dict[str, str], resident: ResidentModel, tmp_path: Path) -> Path:
    """A recipe beside its statistics, with two models of its own."""
    write(tmp_path / "s.safetensors", resident, llamas)
    for name in ("a", "b"):
        shutil.copytree(llamas[name], tmp_path / name)
    path = tmp_path / "r.yaml"
    path.write_text(
        "merge_method: regmean\nmodels:\n  - model: a\n  - model: b\ndtype: float32\n"
        "mergetuna:\n  version: 1\n  target: a\n  statistics:\n    file: s.safetensors\n"
        f"    sha256: {file_sha256(tmp_path / 's.safetensors')}\n"
    )
    return path


def test_a_recipe_with_statistics_merges_from_the_command_line(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from merge_ops import merge_tensor

    out = recipe.with_name("out")
    monkeypatch.setattr(sys, "argv", ["mergetuna", "merge", str(recipe), "--out", str(out)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0, capsys.readouterr().err
    merged = load_file(out / "model.safetensors")
    experts = [load_file(recipe.with_name(n) / "model.safetensors") for n in ("a", "b")]
    stored = load_file(recipe.with_name("s.safetensors"))
    for name, tensor in merged.items():
        grams = [stored[f"{i}.{name}"] for i in range(2)] if f"0.{name}" in stored else []
        own = [expert[name] for expert in experts]
        assert torch.equal(tensor, merge_tensor("regmean", own[0], own, grams=grams)), name
    written = read_recipe(out / "recipe.yaml")
    assert replace(written, provenance={}) == read_recipe(recipe)


def spoil(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the tensors of a file and keep its header; its sum in the recipe is made good."""
    from safetensors import safe_open

    file = path.with_name("s.safetensors")
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    tensors = load_file(file)
    change(tensors)
    rewrite(path, lambda: save_file(tensors, file, metadata=header))


def rewrite(path: Path, make: Callable[[], object]) -> None:
    """Replace the statistics; the recipe names the new sum."""
    file = path.with_name("s.safetensors")
    before = file_sha256(file)
    make()
    path.write_text(path.read_text().replace(before, file_sha256(file)))


def wrong_sum(path: Path) -> None:
    file = path.with_name("s.safetensors")
    file.write_bytes(file.read_bytes() + b"\0")


def no_file(path: Path) -> None:
    path.with_name("s.safetensors").unlink()


def pickled(path: Path) -> None:
    file = path.with_name("s.safetensors")
    rewrite(path, lambda: file.write_bytes(pickle.dumps({"0.x": [1.0]})))


def torch_pickled(path: Path) -> None:
    rewrite(path, lambda: torch.save({"x": torch.ones(2)}, path.with_name("s.safetensors")))


def plain_tensors(path: Path) -> None:
    file = path.with_name("s.safetensors")
    rewrite(path, lambda: save_file({"x": torch.ones(2)}, file))


def bad_header(path: Path) -> None:
    file = path.with_name("s.safetensors")
    metadata = {METADATA: '{"version": 2, "kind": "regmean", "models": ["x"], "collected": {}}'}
    rewrite(path, lambda: save_file({"x": torch.ones(2)}, file, metadata=metadata))


def missing_tensor(path: Path) -> None:
    spoil(path, lambda tensors: tensors.__delitem__(f"1.{NAME}"))


def wrong_shape(path: Path) -> None:
    spoil(path, lambda tensors: tensors.update({f"0.{NAME}": torch.eye(3)}))


def wrong_dtype(path: Path) -> None:
    spoil(path, lambda tensors: tensors.update({f"0.{NAME}": torch.eye(16).long()}))


def other_kind(path: Path) -> None:
    path.write_text(path.read_text().replace("method: regmean", "method: fisher"))


def other_order(path: Path) -> None:
    text = path.read_text().replace("- model: a", "- model: x").replace("- model: b", "- model: a")
    path.write_text(text.replace("- model: x", "- model: b"))


def more_models(path: Path) -> None:
    path.write_text(path.read_text().replace("  - model: b\n", "  - model: b\n  - model: b\n"))


def not_named(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[: text.index("  statistics:")])


def not_taken(path: Path) -> None:
    path.write_text(path.read_text().replace("method: regmean", "method: linear"))


def short_sum(path: Path) -> None:
    path.write_text(path.read_text()[:-10] + "\n")


HOSTILE = [
    (wrong_sum, "11:5: mergetuna.statistics.sha256: s.safetensors must have this sum, but has"),
    (no_file, "10:5: mergetuna.statistics.file: there is no file 's.safetensors'"),
    (pickled, "10:5: mergetuna.statistics.file: s.safetensors: it is not a safetensors file"),
    (
        torch_pickled,
        "10:5: mergetuna.statistics.file: s.safetensors: it is not a safetensors file",
    ),
    (
        plain_tensors,
        "10:5: mergetuna.statistics.file: s.safetensors: it is a safetensors file, but",
    ),
    (
        bad_header,
        "10:5: mergetuna.statistics.file: s.safetensors: its header cannot be read (vers",
    ),
    (missing_tensor, f"it has no tensor '1.{NAME}' (models.1); collect again"),
    (wrong_shape, f"its tensor '0.{NAME}' must be F32 (16, 16), but is F32 (3, 3)"),
    (wrong_dtype, f"its tensor '0.{NAME}' must be F32 (16, 16), but is I64 (16, 16)"),
    (other_kind, "10:5: mergetuna.statistics.file: s.safetensors: fisher needs statistics of its"),
    (other_order, "models.0 must be the model that they were collected from, but is another: "),
    (
        more_models,
        "11:5: mergetuna.statistics.file: s.safetensors: the recipe merges 3 models, but",
    ),
    (not_named, "1:1: merge_method: regmean needs mergetuna.statistics, which `mergetuna stat"),
    (not_taken, "9:3: mergetuna.statistics: linear takes no statistics; drop the key"),
    (short_sum, "11:5: mergetuna.statistics.sha256: string should match pattern"),
]


@pytest.mark.parametrize(("change", "message"), HOSTILE, ids=[c.__name__ for c, _ in HOSTILE])
def test_statistics_that_do_not_fit_are_one_line_with_its_place(
    recipe: Path,
    change: Callable[[Path], None],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(recipe)
    out = recipe.with_name("out")
    monkeypatch.setattr(sys, "argv", ["mergetuna", "merge", str(recipe), "--out", str(out)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert sum(str(recipe) in line for line in told) == 1, told
    error = told[-1]  # those before it are of the memory that the models take
    place = message.partition(": ")[0] if message[0].isdigit() else "10:5"
    assert error.startswith(f"{recipe}:{place}: m"), error
    assert message.lower() in error.lower()
    assert not out.exists()


def test_the_digest_covers_the_sum_and_not_the_path(recipe: Path) -> None:
    one = read_recipe(recipe)
    assert one.statistics is not None
    moved = replace(one, statistics=replace(one.statistics, path="elsewhere"))
    other = replace(one, statistics=replace(one.statistics, sha256="0" * 64))
    assert one.digest() == moved.digest()
    assert one.digest() != other.digest()
    assert one.digest() != replace(one, statistics=None).digest()


def test_a_recipe_with_statistics_through_yaml_and_back(recipe: Path) -> None:
    one = read_recipe(recipe)
    text = recipe_text(one, recipe.parent)
    assert "file: s.safetensors\n" in text
    assert parse_recipe(text, recipe) == one
    assert one.statistics is not None
    at_the_top = replace(one, statistics=replace(one.statistics, path="/s.safetensors"))
    assert "file: s.safetensors\n" in recipe_text(at_the_top, Path("/"))


def test_a_live_model_needs_the_statistics_of_its_method(
    resident: ResidentModel, llamas: dict[str, str], tmp_path: Path
) -> None:
    recipe = Recipe("fisher", (Source(llamas["a"]), Source(llamas["b"])), dtype="float32")
    with pytest.raises(UserError, match=r"fisher needs statistics, but the recipe has no merget"):
        resident.become(recipe)
    path = tmp_path / "f.safetensors"
    write(path, resident, llamas, "fisher")
    resident.become(replace(recipe, statistics=StatisticsRef(str(path), file_sha256(path))))
    first = resident.parameters[NAME].detach().clone()
    before = {n: p._version for n, p in resident.parameters.items()}
    write(path, resident, llamas, "fisher")
    resident.become(replace(recipe, statistics=StatisticsRef(str(path), file_sha256(path))))
    assert {n: p._version for n, p in resident.parameters.items()} == before  # the same bytes
    half = {"weight": (Entry(None, 0.5),)}
    lighter = replace(recipe, models=(Source(llamas["a"], half), recipe.models[1]))
    resident.become(replace(lighter, statistics=StatisticsRef(str(path), file_sha256(path))))
    assert not torch.equal(resident.parameters[NAME], first)


def test_another_file_of_statistics_writes_again(
    resident: ResidentModel, llamas: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "s.safetensors"
    write(path, resident, llamas)
    recipe = Recipe("regmean", (Source(llamas["a"]), Source(llamas["b"])), dtype="float32")
    resident.become(replace(recipe, statistics=StatisticsRef(str(path), file_sha256(path))))
    first = resident.parameters[NAME].detach().clone()
    from safetensors import safe_open

    with safe_open(path, "pt") as opened:
        header = opened.metadata()
    tensors = load_file(path)
    tensors[f"0.{NAME}"] = torch.eye(16)
    save_file(tensors, path, metadata=header)
    resident.become(replace(recipe, statistics=StatisticsRef(str(path), file_sha256(path))))
    assert not torch.equal(resident.parameters[NAME], first)


def test_a_file_is_whole_or_not_there_and_safetensors_reads_it(
    resident: ResidentModel, llamas: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "new" / "s.safetensors"
    shapes = {"x": (2, 3), "y": ()}
    header = Header(kind="fisher", models=["m"], collected={"items": 3})

    def stopped() -> None:
        with new_statistics(path, header, shapes) as writer:
            writer.write(0, "x", torch.ones(2, 3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(path.parent.iterdir()) == []
    with new_statistics(path, header, shapes) as writer:
        writer.write(0, "y", torch.tensor(5.0, dtype=torch.bfloat16))
        writer.write(0, "x", torch.arange(6.0).view(3, 2).T)
    stored = load_file(path)
    assert torch.equal(stored["0.x"], torch.arange(6.0).view(3, 2).T)
    assert stored["0.y"] == 5.0
    assert total_bytes(shapes, 1) == 28
    assert path.stat().st_mode & 0o777 == 0o644
    assert write(tmp_path / "t", resident, llamas) == write(tmp_path / "u", resident, llamas)
    assert (tmp_path / "t").read_bytes() == (tmp_path / "u").read_bytes()


def test_linears_are_those_whose_weight_is_nobody_elses() -> None:
    for tied in (False, True):
        model = tiny_llama(0, layers=1, tied=tied)
        parameters = dict(model.named_parameters())
        names = list(linears_of(model, parameters))
        assert len([n for n in names if "layers.0." in n]) == 7
        assert ("lm_head.weight" in names) == (not tied)
        assert "model.embed_tokens.weight" not in names


def test_held_statistics_change_the_key_of_a_parameter_once() -> None:
    one, two = HeldStatistics(), HeldStatistics()
    device = torch.device("cpu")
    assert one.key("x") == two.key("x") == ""
    one.put({"x": [torch.ones(1)]})
    assert one.read("x", device) == [torch.ones(1)]
    key = one.key("x")
    one.put({"y": [torch.ones(1)]})
    assert one.key("x") == key
    assert one.read("x", device) == []
    two.put({"x": [torch.ones(1)]})
    assert two.key("x") != key
