"""Live models that accelerate has spread: weights are written where they lie, or refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from accelerate.hooks import attach_align_device_hook_on_blocks
from torch import Tensor, nn
from transformers import DynamicCache, LlamaForCausalLM

from merge_ops import placement, residency, runtime, shards
from merge_ops.errors import UserError
from merge_ops.live_tensors import input_device, live_tensors, whole_state
from merge_ops.opening import open_models
from merge_ops.placement import plan_devices
from merge_ops.plan import Plan
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from merge_ops.shards import Shards, shard, spread
from objectives.heads import find_head
from objectives.replay import capture, replay
from studies.export import export
from tests.families import FAMILIES, empty
from tests.tiny import save, tiny_llama

CPU = torch.device("cpu")
WEIGHTED = {"linear", "ties", "task_arithmetic"}
METHODS = ["linear", "ties", "tsv", "model_stock"]
Spread = Callable[[nn.Module], object]


def whole(module: nn.Module) -> None:
    accelerate.cpu_offload(module, torch.device("cpu"))


def two_layers(module: nn.Module) -> None:
    """Some parts at home, some kept by hooks: what `dispatch_model` does beside an accelerator."""
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    kept = {"model.embed_tokens", "model.layers.1", "model.layers.2", "lm_head"}
    parts = [*kept, "model.layers.0", "model.norm", "model.rotary_emb"]
    places: Any = {"": "cpu", **dict.fromkeys(parts, "cpu")}
    offload: Any = {part: part in kept for part in parts}
    attach_align_device_hook_on_blocks(module, places, offload, weights_map=state)


def at_home(module: nn.Module) -> None:
    parts = ["model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"]
    parts += [f"model.layers.{i}" for i in range(3)]
    accelerate.dispatch_model(module, dict.fromkeys(parts, "cpu"), "cpu", force_hooks=True)


SPREADS: dict[str, Spread] = {"whole": whole, "two layers": two_layers, "at home": at_home}


def recipe_of(models: dict[str, str], method: str = "linear", weight: float = 0.7) -> Recipe:
    own = {"weight": (Entry(None, weight),)} if method in WEIGHTED else {}
    return Recipe(
        method,
        (Source(models["a"], dict(own)), Source(models["b"], dict(own))),
        models["base"],
        dtype="float32",
    )


def resident_of(recipe: Recipe, how: Spread, monkeypatch: pytest.MonkeyPatch) -> ResidentModel:
    with monkeypatch.context() as patched:
        patched.setattr(residency, "spread", lambda module, _: how(module))
        return load_resident(recipe, Runtime())


@torch.no_grad()
def says(module: Any) -> Tensor:
    tokens = torch.arange(8)[None]
    return module(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", SPREADS)
def test_a_spread_model_becomes_what_a_whole_one_becomes(
    llamas: dict[str, str], how: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place, through the hooks' own memory; also behind forward passes and other recipes."""
    recipe = recipe_of(llamas, method)
    plain = load_resident(recipe, Runtime())
    resident = resident_of(recipe, SPREADS[how], monkeypatch)
    assert any(p.is_meta for p in resident.module.parameters()) == (how != "at home")
    first = says(resident.module)
    for other in (recipe_of(llamas, "linear", 0.2), recipe):
        resident.become(other)
        plain.become(other)
        assert torch.equal(says(resident.module), says(plain.module))
    assert not torch.equal(first, says(resident.module))
    ours, theirs = whole_state(resident.module), plain.module.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    assert resident.fingerprint("decoder") == plain.fingerprint("decoder")


@pytest.mark.parametrize("how", SPREADS)
def test_the_decoders_call_is_replayed(
    llamas: dict[str, str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(llamas)
    resident = resident_of(recipe, SPREADS[how], monkeypatch)
    tokens = torch.arange(8)[None]
    call = capture(resident, {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)})
    resident.become(recipe)
    with torch.no_grad():
        cache = DynamicCache()
        hidden = replay(resident, call, cache)
        got = find_head(resident).project(hidden[0])[None]
    plain = load_resident(recipe, Runtime())
    plain.become(recipe)
    assert torch.equal(got, says(plain.module))
    kept = DynamicCache()
    replay(plain, call, kept)
    layers: list[tuple[Any, Any]] = list(zip(cache.layers, kept.layers, strict=True))
    for layer, other in layers:
        assert torch.equal(layer.keys, other.keys)
        assert torch.equal(layer.values, other.values)
    assert resident.device == CPU


@pytest.mark.parametrize("how", SPREADS)
def test_an_export_holds_what_is_offloaded(
    llamas: dict[str, str], how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = recipe_of(llamas)
    resident = resident_of(recipe, SPREADS[how], monkeypatch)
    resident.become(recipe)
    export(resident, recipe, tmp_path / "out")
    written: Any = LlamaForCausalLM.from_pretrained(tmp_path / "out")
    for name, tensor in whole_state(resident.module).items():
        assert torch.equal(written.state_dict()[name], tensor), name


@pytest.mark.parametrize("how", ["whole", "two layers"])
def test_a_nan_is_found_where_it_lies(
    llamas: dict[str, str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(llamas)
    resident = resident_of(recipe, SPREADS[how], monkeypatch)
    huge = {"lambda": (Entry(None, 1e3),)}
    for weight in (1e38, 2e38):  # finite weights, infinite sums
        with pytest.raises(UserError, match="merged weights must be finite"):
            resident.become(replace(recipe_of(llamas, "task_arithmetic", weight), parameters=huge))
    resident.become(recipe)
    assert all(bool(t.isfinite().all()) for t in whole_state(resident.module).values())


def test_a_model_that_is_offloaded_after_loading_is_written_too(llamas: dict[str, str]) -> None:
    """The trap: `add_` on the parameter, which now lies on meta, does nothing at all."""
    recipe = recipe_of(llamas)
    resident = load_resident(recipe, Runtime())
    plain = load_resident(recipe, Runtime())
    state = {name: tensor.clone() for name, tensor in resident.module.state_dict().items()}
    accelerate.cpu_offload(resident.module, CPU, state_dict=state)
    next(resident.module.parameters()).data.add_(1.0)
    assert torch.equal(says(resident.module), says(plain.module))
    for one in (resident, plain):
        one.become(recipe)
    assert torch.equal(says(resident.module), says(plain.module))


def test_tied_embeddings_are_written_once_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {}
    for seed, name in enumerate(("base", "a", "b")):
        save(tiny_llama(seed, tied=True), tmp_path / name)
        models[name] = str(tmp_path / name)
    recipe = recipe_of(models)
    plain = load_resident(recipe, Runtime())
    resident = resident_of(recipe, whole, monkeypatch)
    for one in (resident, plain):
        one.become(recipe)
    assert torch.equal(says(resident.module), says(plain.module))
    export(resident, recipe, tmp_path / "out")
    assert torch.equal(
        says(LlamaForCausalLM.from_pretrained(tmp_path / "out")), says(plain.module)
    )


def test_what_is_offloaded_to_disk_is_refused(
    llamas: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def to_disk(module: nn.Module) -> None:
        accelerate.disk_offload(module, str(tmp_path), CPU)

    with pytest.raises(UserError, match=r"layers.* is offloaded to disk|embed.* to disk"):
        resident_of(recipe_of(llamas), to_disk, monkeypatch)


def test_weights_that_are_nowhere_are_refused() -> None:
    model: Any = tiny_llama(0)
    model.to("meta")
    with pytest.raises(UserError, match=r"norm\.weight: a live parameter must have weights"):
        live_tensors(model)["model.norm.weight"].find()


def test_statistics_are_not_collected_from_offloaded_parameters(
    llamas: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = resident_of(recipe_of(llamas), two_layers, monkeypatch)
    with pytest.raises(UserError, match="statistics need every merged parameter on a device"):
        assert resident.parameters


GPUS = [torch.device("cuda", i) for i in range(2)]


def fitting(model: nn.Module, share: float, host: float = 4.0) -> dict[torch.device, int]:
    """Free bytes on two accelerators and the host, as shares of a float32 model."""
    size = 4 * sum(p.numel() for p in model.parameters())
    return {**dict.fromkeys(GPUS, int(share * size)), CPU: int(host * size)}


@pytest.mark.parametrize("family", ["llava", "qwen2_5_omni_thinker", "mllama"])
def test_a_model_is_spread_by_whole_layers(family: str) -> None:
    model, _ = empty(FAMILIES[family]())
    found = shard(model, torch.float32, fitting(model, 0.8))
    homes = {name: found.home(name) for name, _ in model.named_parameters()}
    assert set(homes.values()) == set(GPUS)
    assert found.main == GPUS[0]
    whole_ones = tuple(model._no_split_modules or ())  # type: ignore[arg-type]
    for path, module in model.named_modules():
        if type(module).__name__ in whole_ones:
            assert len({home for name, home in homes.items() if name.startswith(f"{path}.")}) == 1


def test_what_devices_cannot_hold_goes_to_main_memory_and_never_to_disk() -> None:
    model, _ = empty(FAMILIES["llava"]())
    found = shard(model, torch.float32, fitting(model, 0.45))
    homes = {found.home(name) for name, _ in model.named_parameters()}
    assert homes == {*GPUS, CPU}
    with pytest.raises(UserError, match=r"more than its devices and main memory have free \(cuda"):
        shard(model, torch.float32, fitting(model, 0.4, 0.01))


def test_each_device_has_a_plan_of_its_own(
    llamas: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they hold what one device would; each source lies where it is merged."""
    monkeypatch.setattr(runtime, "free_memory", lambda _: 1 << 30)
    recipe = recipe_of(llamas)
    opened = open_models(recipe)
    parts = {"model.layers.0": GPUS[0], "model.layers.1": GPUS[1], "": GPUS[0], "lm_head": CPU}
    plans = plan_devices(opened, recipe, Runtime(), 1, Shards(parts, GPUS[0]))
    assert list(plans) == [GPUS[0], GPUS[1], CPU]
    alone: Plan = placement.plan_models(opened, recipe, Runtime())
    for what in ("base base", "expert a", "expert b"):
        sizes = [i.size for plan in plans.values() for i in plan.items if i.what == what]
        assert sum(sizes) == next(i.size for i in alone.items if i.what == what)
    live = [plan.items[0] for plan in plans.values()]
    assert {item.what for item in live} == {"part of the live model"}
    assert sum(item.size for item in live) == alone.items[0].size
    assert [plan.text().splitlines()[0].split(":")[0] for plan in plans.values()] == [
        "memory on cuda",
        "memory on cuda",
        "memory on cpu",
    ]


def test_tied_parameters_stay_together() -> None:
    model = tiny_llama(0, tied=True)
    apart = Shards({"": CPU, "lm_head": GPUS[0]}, GPUS[0])
    with pytest.raises(UserError, match=r"embed_tokens\.weight and lm_head\.weight are tied"):
        spread(model, apart)


def test_inputs_go_where_the_hooks_compute() -> None:
    model = tiny_llama(0)
    accelerate.cpu_offload(model, CPU)
    assert input_device(model) == CPU


two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


@pytest.mark.gpu
@two_gpus
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", [0.8, 0.45])
def test_two_accelerators_hold_one_live_model(
    llamas: dict[str, str], share: float, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(opened: Any, *_: object) -> Shards:
        model = opened.target.model
        return shards.shard(model, torch.float32, fitting(model, share))

    monkeypatch.setattr(residency, "place_model", few)
    recipe = recipe_of(llamas, method)
    resident = load_resident(recipe, Runtime("cuda", shard=True))
    plain = load_resident(recipe, Runtime("cpu"))
    for one in (resident, plain):
        one.become(recipe)
    for name, tensor in plain.module.state_dict().items():
        got = whole_state(resident.module)[name].cpu()
        torch.testing.assert_close(got, tensor, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        says(resident.module).cpu(), says(plain.module), rtol=1e-4, atol=1e-4
    )
