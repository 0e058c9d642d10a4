"""The engine against the methods as they are defined, over saved models and whole recipes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from merge_ops import merge_tensor
from merge_ops.batch import Batch
from merge_ops.engine import Engine
from merge_ops.errors import UserError
from merge_ops.loading import DTYPES
from merge_ops.opening import open_models
from merge_ops.placement import plan_models
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.registry import MergeOp, all_ops
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from merge_ops.sources import Held, Sources, difference
from tests.tiny import DEVICES, tiny_llama
from tests.tiny import save as write

CPU = torch.device("cpu")
NAMES = ("a", "b", "c")
MIXES = [("float32", None), ("bfloat16", None), ("bfloat16", "float32"), ("float32", "bfloat16")]
STEP = {"float32": 0.0, "bfloat16": 2.0**-7}  # from one number to the next, at most
PROJECTION = "model.layers.1.mlp.up_proj.weight"
OPS = [op for op in all_ops() if not op.traits.statistics]  # those: test_statistics_file.py
every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
on_every_device = pytest.mark.parametrize("device", DEVICES)


def save(folder: Path, change: Callable[[str, Tensor], Tensor], seed: int = 0) -> str:
    """A tiny model whose weights are `change(name, weights)`, saved."""
    model = tiny_llama(seed, layers=2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(change(name, parameter))
    write(model, folder)
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A base and three experts near it, whose task vectors have ties and zeros."""
    root = tmp_path_factory.mktemp("engine")

    def changed(seed: int) -> Callable[[str, Tensor], Tensor]:
        generator = torch.Generator().manual_seed(seed)

        def change(_: str, x: Tensor) -> Tensor:
            noise = torch.randn(x.shape, generator=generator)
            return x + (noise * 3).round() * 0.002 * (seed > 0)

        return change

    return {n: save(root / n, changed(i)) for i, n in enumerate(("base", *NAMES))}


def op_named(name: str) -> MergeOp:
    return next(op for op in all_ops() if op.name == name)


Residents = Callable[[tuple[str, str | None], str], ResidentModel]


@pytest.fixture(scope="module")
def residents(models: dict[str, str]) -> Residents:
    """One live model per pair of dtypes and device, which becomes every method in turn."""

    @cache
    def loaded(dtypes: tuple[str, str | None], device: str) -> ResidentModel:
        return load_resident(recipe_of(models, op_named("ties"), dtypes), Runtime(device))

    return loaded


def values_of(op: MergeOp, count: int) -> dict[str, Any]:
    """Parameters away from their defaults."""
    values: dict[str, Any] = {}
    for name, knob in op.knobs.items():
        share = 0.4 if name != "gamma" else 0.9
        middle = knob.low + share * (knob.high - knob.low)
        each = [middle * (1 + 0.25 * i) for i in range(count)]
        values[name] = each if knob.per_expert else middle
    if op.name.startswith("della"):
        values |= {"density": [0.5] * count, "epsilon": [0.1] * count}
    return values


def recipe_of(
    models: dict[str, str],
    op: MergeOp,
    dtypes: tuple[str, str | None] = ("float32", None),
    changed: Mapping[str, Any] | None = None,
) -> Recipe:
    names = NAMES[: op.max_experts or 3]
    values = values_of(op, len(names)) | dict(changed or {})
    own = [
        {k: (Entry(None, v[i]),) for k, v in values.items() if isinstance(v, list)}
        for i in range(len(names))
    ]
    common = {k: (Entry(None, v),) for k, v in values.items() if not isinstance(v, list)}
    sources = tuple(Source(models[n], p) for n, p in zip(names, own, strict=True))
    return Recipe(op.name, sources, models["base"], common, *dtypes, seed=5)


def weights_of(reference: str) -> dict[str, Tensor]:
    return dict(load_file(Path(reference) / "model.safetensors"))


def expected(op: MergeOp, recipe: Recipe, resident: ResidentModel) -> dict[str, Tensor]:
    """What `merge_tensor` gives, from the files, in the recipe's dtypes."""
    dtype, out = DTYPES[str(recipe.dtype)], DTYPES[recipe.out_dtype or str(recipe.dtype)]
    files = {reference: weights_of(reference) for reference in recipe.references()}
    base_model = recipe.task_base(op)
    merged = {}
    for name in resident.merged_names:
        read = {reference: file[name].to(dtype) for reference, file in files.items()}
        experts = [read[s.model] for s in recipe.models]
        start = read[base_model] if base_model else experts[0]
        values = values_of(op, len(experts))
        if op.traits.base_switch and base_model:
            values[op.traits.base_switch] = True
        draw = {"seed": recipe.seed, "name": name} if op.random else {}
        merged[name] = merge_tensor(op.name, start, experts, **values, **draw).to(out)
    return merged


def live(resident: ResidentModel) -> dict[str, Tensor]:
    return {n: p.detach().cpu().clone() for n, p in resident.parameters.items()}


def same_bits(a: Tensor, b: Tensor) -> bool:
    kind = {2: torch.int16, 4: torch.int32}[a.itemsize]
    return a.dtype == b.dtype and torch.equal(a.view(kind), b.view(kind))


@on_every_device
@every_op
@pytest.mark.parametrize("dtypes", MIXES, ids=lambda mix: f"{mix[0]}-{mix[1]}")
def test_the_live_model_is_what_the_method_says(
    models: dict[str, str],
    residents: Residents,
    op: MergeOp,
    dtypes: tuple[str, str | None],
    device: str,
) -> None:
    recipe = recipe_of(models, op, dtypes)
    resident = residents(dtypes, device)
    resident.become(recipe)
    got, base = live(resident), weights_of(models["base"])
    for name, want in expected(op, recipe, resident).items():
        if device == "cpu" and not op.traits.solve:
            assert same_bits(got[name], want), name
            continue
        # A solved change is kept in the models' dtype: rounded there once more.
        step = STEP[dtypes[0]] if op.traits.solve else 0.0
        change = (want.float() - base[name].float()).abs().max()
        allowed = step * (want.float().abs() + change) + (0 if device == "cpu" else 1e-6)
        assert ((got[name].float() - want.float()).abs() <= allowed).all(), name


PAIRS = list(permutations(["linear", "slerp", "ties", "dare_ties", "wudi"], 2))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_become_a_then_b_is_become_b(
    models: dict[str, str], residents: Residents, first: str, second: str
) -> None:
    either = residents(("float32", None), "cpu")
    want = expected(op_named(second), recipe_of(models, op_named(second)), either)
    for name in (second, first, second):
        either.become(recipe_of(models, op_named(name)))
    got = live(either)
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_the_models_beside_the_live_one_are_never_changed(
    models: dict[str, str], residents: Residents
) -> None:
    either = residents(("float32", None), "cpu")
    sources = either._engine.sources
    names = [(r, n) for r in sources.references() for n in either.merged_names]
    before = [sources.weights(*name).clone() for name in names]
    for op in OPS:
        either.become(recipe_of(models, op))
    for (reference, name), kept in zip(names, before, strict=True):
        assert same_bits(sources.weights(reference, name), kept), name
        assert same_bits(weights_of(reference)[name], kept), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["ties", "slerp", "dare_linear", "model_stock"])
def test_where_the_models_lie_does_not_matter(
    models: dict[str, str], method: str, dtype: str
) -> None:
    recipe = recipe_of(models, op_named(method), (dtype, None))
    opened = open_models(recipe)
    plan = plan_models(opened, recipe, Runtime())
    fixed = sum(item.size for item in plan.items if not item.movable)
    results = []
    for models_that_fit in (3 + 1, 1, 0):
        memory = fixed + models_that_fit * opened.size(models["base"])
        runtime = Runtime(memory=memory)
        places = plan_models(opened, recipe, runtime).places
        movable = [p for item, p in zip(plan.items, places, strict=True) if item.movable]
        assert movable.count("device") == min(models_that_fit, len(movable))
        assert set(movable[models_that_fit:]) <= {"mapped"}
        resident = load_resident(recipe, runtime)
        resident.become(recipe)
        results.append(live(resident))
    for other in results[1:]:
        assert all(same_bits(other[name], results[0][name]) for name in other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_held_task_vector_gives_the_experts_very_bits_back(
    dtype: torch.dtype, data: st.DataObject
) -> None:
    least = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    highest = 3e4 if dtype == torch.float16 else 1e38
    number = st.sampled_from([0.0, -0.0, least, -least, 1.0, -1.0, highest, -highest])
    number |= st.floats(-2, 2, width=16) | st.floats(-1e-6, 1e-6)
    n, many = data.draw(st.integers(0, 6)), data.draw(st.booleans())
    rows = [data.draw(st.lists(number, min_size=n, max_size=n)) for _ in range(2)]
    base, expert = (torch.tensor(row).to(dtype) for row in rows)
    if many:  # few that are rounded among many that are not: they are held beside
        calm = torch.linspace(1.0, 1.5, 200).to(dtype)
        base, expert = torch.cat([base, calm]), torch.cat([expert, calm])
    held = difference(expert, base, "base")
    sources = Sources({"base": {"w": Held(base)}, "expert": {"w": held}}, CPU)
    assert same_bits(sources.weights("expert", "w"), expert)
    assert same_bits(sources.weights("base", "w"), base)
    assert same_bits(sources.task_vector("expert", "base", "w"), expert - base)
    beside = [x for x in (held.places, held.values) if x is not None]
    assert sum(x.nbytes for x in beside) <= 0.1 * expert.nbytes


def test_what_rounding_loses_is_counted_and_takes_little_memory() -> None:
    generator = torch.Generator().manual_seed(0)
    base, far = (torch.randn(5000, generator=generator).bfloat16() for _ in range(2))
    near = base * 1.01
    assert difference(near, base, "base").base == "base"
    stray = near.clone()
    base[7], stray[7] = 40.0, 0.001  # the difference rounds to -40
    assert difference(stray, base, "base").rounded == 1
    held = difference(far, base, "base")
    assert held.base is None  # a list of what is lost would be larger than the weights
    assert held.rounded > 1000
    sources = Sources({"base": {"w": Held(base)}, "far": {"w": held}}, CPU)
    assert sources.rounded() == (held.rounded, 5000)


@pytest.mark.parametrize(
    ("method", "bad"),
    [("linear", "b")]  # it takes no base
    + [(m, bad) for m in ("ties", "dare_ties", "della", "tsv") for bad in ("base", "b")],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_source_that_is_not_finite_is_named(
    models: dict[str, str], tmp_path: Path, method: str, bad: str, value: float
) -> None:
    """Even where the method would drop that entry, or let a comparison swallow it."""

    def spoil(name: str, x: Tensor) -> Tensor:
        changed = x.clone()
        if name == PROJECTION:
            changed[3, 2] = value
        return changed

    spoiled = models | {bad: save(tmp_path / bad, spoil)}
    recipe = recipe_of(spoiled, op_named(method))
    resident = load_resident(recipe, Runtime())
    with pytest.raises(UserError, match=rf"up_proj\.weight: weights must be finite.*/{bad} are"):
        resident.become(recipe)


HUGE = [("float16", 1e9), ("float32", 1e40), ("bfloat16", 1e40)]


@pytest.mark.parametrize(("dtype", "weight"), HUGE)
@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties", "dare_ties"])
def test_an_overflow_is_named_and_the_next_candidate_is_right(
    models: dict[str, str], method: str, dtype: str, weight: float
) -> None:
    op = op_named(method)
    good = recipe_of(models, op, (dtype, None))
    resident = load_resident(good, Runtime())
    resident.become(good)
    want = live(resident)
    huge = {"lambda": weight} if "lambda" in op.knobs else {"normalize": False}
    change: dict[str, Any] = huge | ({} if "lambda" in huge else {"weight": [weight] * 3})
    with pytest.raises(UserError, match=r"merged weights must be finite, but this recipe's"):
        resident.become(recipe_of(models, op, (dtype, None), change))
    assert resident._written == {}
    resident.become(good)
    got = live(resident)
    assert all(same_bits(got[name], want[name]) for name in want)


def test_an_overflow_on_the_way_is_found_though_the_scale_would_undo_it(
    models: dict[str, str],
) -> None:
    """Infinity times a small scale is infinity."""
    change: dict[str, Any] = {"weight": [3e38] * 3, "lambda": 1e-30, "normalize": False}
    op = op_named("ties")
    recipe = recipe_of(models, op, changed=change)
    far = replace(recipe, base_model=models["base"])
    resident = load_resident(far, Runtime())
    for parameter in resident._engine.sources._held[models["a"]].values():
        assert isinstance(parameter, Held)
        parameter.tensor.mul_(1e4)
    with pytest.raises(UserError, match="merged weights must be finite"):
        resident.become(far)


def test_a_tensor_that_did_not_change_is_really_not_written(models: dict[str, str]) -> None:
    op = op_named("dare_linear")
    recipe = recipe_of(models, op)
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    with torch.no_grad():
        for parameter in resident.parameters.values():
            parameter.fill_(77.0)
    resident.become(recipe)
    assert all(bool((p == 77.0).all()) for p in resident.parameters.values())
    resident.become(replace(recipe, seed=6))
    assert not any(bool((p == 77.0).any()) for p in resident.parameters.values())


def test_an_error_half_way_leaves_no_stale_skip(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    op = op_named("ties")
    first, second = recipe_of(models, op), recipe_of(models, op, changed={"lambda": 0.3})
    resident = load_resident(first, Runtime())
    resident.become(first)
    want, write = live(resident), Engine.write

    def interrupted(self: Engine, out: Tensor, job: Any, batch: Batch) -> bool:
        if job.name == PROJECTION:
            batch.run()
            raise KeyboardInterrupt
        return write(self, out, job, batch)

    monkeypatch.setattr(Engine, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resident.become(second)
    monkeypatch.undo()
    resident.become(first)
    got = live(resident)
    assert all(same_bits(got[name], want[name]) for name in want)
    assert resident.first_changed_layer == 0


def test_a_task_vector_is_solved_once_for_each_of_its_parameters(models: dict[str, str]) -> None:
    op = op_named("swudi")
    resident = load_resident(recipe_of(models, op), Runtime())
    for t in (200.0, 400.0, 200.0):
        recipe = recipe_of(models, op, changed={"t": t})
        resident.become(recipe)
    names = [key[0] for key in resident._engine._solved]
    assert sorted(names) == sorted(resident.merged_names * 2)


@pytest.mark.parametrize(
    "mix", [("bfloat16", None), ("bfloat16", "float32"), ("float32", "bfloat16")]
)
def test_buffers_keep_the_precision_that_transformers_gives_them(
    models: dict[str, str], mix: tuple[str, str | None]
) -> None:
    """Rotary frequencies in half precision would turn far positions by wrong angles."""
    recipe = recipe_of(models, op_named("linear"), mix)
    resident = load_resident(recipe, Runtime())
    buffers = dict(resident.module.named_buffers())
    assert buffers
    assert {b.dtype for b in buffers.values()} == {torch.float32}
    out = DTYPES[mix[1] or mix[0]]
    assert {p.dtype for p in resident.module.parameters()} == {out}
