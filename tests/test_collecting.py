"""Statistics of experts, collected on the live model, against the same figures made by hand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from merge_ops import merge_tensor
from merge_ops.errors import UserError
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.resident import ResidentModel
from objectives.errors import ObjectiveError
from objectives.evaluation import score_all
from objectives.fishers import diagonal_fishers
from objectives.observation import Item, make_items, spread
from objectives.prompts import encode, render
from objectives.request import question_prompt
from studies.model_setup import load_models
from studies.objectives_setup import ObjectiveSet, make_objectives
from studies.setup import StudyFile, identities, read_study
from studies.statistics import attach, collect_statistics, with_statistics

MakeStudy = Callable[..., Path]
ITEMS = 5


@dataclass(frozen=True)
class Collected:
    """One study with its models, its data and the tensors of its file of statistics."""

    study: StudyFile
    resident: ResidentModel
    objectives: ObjectiveSet
    tensors: Mapping[str, Tensor]

    def items(self) -> list[Item]:
        return make_items(self.resident, self.objectives.main, "selection", ITEMS)  # type: ignore[arg-type]

    def alone(self, expert: int) -> Recipe:
        source = Source(self.study.template.models[expert].model, {"weight": (Entry(None, 1.0),)})
        plain = replace(self.study.template, parameters={}, statistics=None)
        return replace(plain, method="linear", models=(source,), base_model=None)

    def of(self, name: str) -> list[Tensor]:
        return [self.tensors[f"{i}.{name}"] for i in range(len(self.study.template.models))]

    def names(self) -> list[str]:
        return [key.removeprefix("0.") for key in self.tensors if key.startswith("0.")]


def collected(make: MakeStudy, kind: str, method: str, out: str, **changes: Any) -> Collected:
    knobs = {"knobs": {"weight": [0.1, 1.0]}}
    changes.setdefault("statistics", {"items": ITEMS})
    study = read_study(make(kind, out=out, method=method, search=knobs, **changes))
    objectives, resident = make_objectives(study.config, study.folder), load_models(study)
    study = with_statistics(study, resident, objectives.main, identities(study))
    assert study.template.statistics is not None
    tensors = load_file(study.template.statistics.path)
    return Collected(study, resident, objectives, tensors)


@pytest.fixture(scope="module")
def regmean(small_study: MakeStudy) -> Collected:
    return collected(small_study, "reasoning", "regmean", "c-regmean")


@pytest.fixture(scope="module")
def plus_plus(small_study: MakeStudy) -> Collected:
    return collected(small_study, "reasoning", "regmean++", "c-plus")


@pytest.fixture(scope="module")
def fisher(small_study: MakeStudy) -> Collected:
    return collected(small_study, "reasoning", "fisher", "c-fisher")


@pytest.fixture(scope="module")
def rewarded(small_study: MakeStudy) -> Collected:
    return collected(small_study, "preference", "fisher", "c-rewarded")


@contextmanager
def inputs_of(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """What the linear layers of the language model are called with, (B, T, in)."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    hooks = []
    for path, child in module.named_modules():
        name = "model." + path[path.find("layers.") :] + ".weight"
        if isinstance(child, nn.Linear) and "language_model" in path and name in seen:
            keep = seen[name].append
            hooks.append(
                child.register_forward_pre_hook(lambda _m, args, keep=keep: keep(args[0]))
            )
    yield seen
    for hook in hooks:
        hook.remove()


def test_grams_are_of_all_real_tokens_and_of_no_padding(regmean: Collected) -> None:
    """Against one padded batch per objective, run through the whole model, padding cut by hand."""
    live, names = regmean.resident, regmean.names()
    assert len(names) == 7 * live.layers
    for expert in range(2):
        live.become(regmean.alone(expert))
        rows: dict[str, list[Tensor]] = {name: [] for name in names}
        padded = 0
        for objective in regmean.objectives.main:
            batch = spread(objective.examples("selection"), ITEMS)
            texts = [render(live, question_prompt(e), e.texts["answer"]) for e in batch]
            inputs = encode(live, texts, [e.images for e in batch])
            real = inputs["attention_mask"].bool()
            padded += int((~real).sum())
            with inputs_of(live.module, names) as seen, torch.no_grad():
                live.module(**inputs)
            for name in names:
                (x,) = seen[name]
                rows[name].append(x[real])
        assert padded > 0
        for name in names:
            x = torch.cat(rows[name]).double()
            by_hand = (x.T @ x / len(x)).float()
            torch.testing.assert_close(regmean.of(name)[expert], by_hand, rtol=1e-4, atol=1e-5)


def sources(one: Collected, name: str) -> list[Tensor]:
    own = one.resident._engine.sources
    return [own.weights(source.model, name) for source in one.study.template.models]


def test_regmean_minimises_the_regression_loss(regmean: Collected) -> None:
    name = "model.layers.3.mlp.down_proj.weight"
    experts, grams = [w.double() for w in sources(regmean, name)], regmean.of(name)

    def loss(weight: Tensor) -> float:
        apart = [weight.double() - own for own in experts]
        return sum(float((d @ g.double() * d).sum()) for d, g in zip(apart, grams, strict=True))

    recipe = replace(regmean.study.template, parameters={"a": (Entry(None, 1.0),)})
    regmean.resident.become(recipe)
    merged = regmean.resident.parameters[name].detach().clone()
    best = loss(merged)
    assert best < 0.999 * loss((experts[0] + experts[1]) / 2)
    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(5):
            noise = torch.randn(merged.shape, generator=generator)
            assert loss(merged + size * merged.std() * noise) > best


def test_the_engine_hands_each_parameter_its_own_statistics(
    regmean: Collected, fisher: Collected
) -> None:
    for one, keyword, extra in ((regmean, "grams", {"a": 0.9}), (fisher, "fishers", {})):
        one.resident.become(one.study.template)
        for name in ("model.layers.2.self_attn.o_proj.weight", "model.norm.weight"):
            given = one.of(name) if f"0.{name}" in one.tensors else []
            experts = sources(one, name)
            want = merge_tensor(
                one.study.config.method, experts[0], experts, **{keyword: given}, **extra
            )
            assert torch.equal(one.resident.parameters[name], want)


def test_a_weight_of_one_expert_alone_gives_that_expert(regmean: Collected) -> None:
    models = tuple(
        replace(source, parameters={"weight": (Entry(None, float(i)),)})
        for i, source in enumerate(regmean.study.template.models)
    )
    regmean.resident.become(replace(regmean.study.template, models=models))
    for name in regmean.resident.merged_names:
        assert torch.equal(regmean.resident.parameters[name], sources(regmean, name)[1]), name


def test_plus_plus_takes_inputs_behind_a_separately_built_merged_prefix(
    plus_plus: Collected,
) -> None:
    depth = 3
    live = plus_plus.resident
    live.become(plus_plus.alone(0))  # what is not merged is the target's anyway
    layer = [n for n in plus_plus.names() if f"model.layers.{depth}." in n]
    for expert in range(2):
        built = deepcopy(live.module)
        place = {
            f"model.layers.{n.partition('layers.')[2]}": p
            for n, p in built.named_parameters()
            if "language_model.layers." in n
        }
        with torch.no_grad():
            for name, parameter in place.items():
                experts, below = sources(plus_plus, name), int(name.split(".")[2]) < depth
                grams = plus_plus.of(name) if f"0.{name}" in plus_plus.tensors else []
                merged = merge_tensor("regmean++", experts[0], experts, grams=grams, a=0.9)
                parameter.copy_(merged if below else experts[expert])
            with inputs_of(built, layer) as seen:
                for item in plus_plus.items():
                    built(**item.passages[0].inputs)
        for name in layer:
            x = torch.cat([own[0] for own in seen[name]]).double()
            by_hand = (x.T @ x / len(x)).float()
            torch.testing.assert_close(plus_plus.of(name)[expert], by_hand, rtol=1e-3, atol=1e-4)


def test_plus_plus_differs_from_regmean_above_the_first_layer_only(
    regmean: Collected, plus_plus: Collected
) -> None:
    for name in regmean.names():
        apart = max(
            float((a - b).abs().max() / a.abs().max())
            for a, b in zip(regmean.of(name), plus_plus.of(name), strict=True)
        )
        assert (apart < 1e-5) == ("layers.0." in name), (name, apart)


def by_hand_fishers(
    one: Collected, value: Callable[[nn.Module, Item], Tensor]
) -> dict[str, Tensor]:
    """Mean squared gradient by .backward() on a copy of the live model, one example at a time."""
    copy = deepcopy(one.resident.module).requires_grad_()
    live = {id(p): n for n, p in one.resident.module.named_parameters()}
    own = dict(copy.named_parameters())
    names = {name: live[id(p)] for name, p in one.resident.parameters.items()}
    sums = {name: torch.zeros_like(p) for name, p in one.resident.parameters.items()}
    items = one.items()
    for item in items:
        copy.zero_grad()
        value(copy, item).backward()  # type: ignore[no-untyped-call]
        for name, total in sums.items():
            grad = own[names[name]].grad
            if grad is not None:
                total += grad**2 / len(items)
    return sums


def test_fishers_are_the_mean_squared_gradients_of_the_gold_answer(fisher: Collected) -> None:
    def gold(model: nn.Module, item: Item) -> Tensor:
        (passage,) = item.passages
        logs = model(**passage.inputs).logits[0].log_softmax(-1)
        ids = passage.inputs["input_ids"][0]
        behind = range(len(ids) - passage.answer, len(ids))
        return torch.stack([logs[i - 1, ids[i]] for i in behind]).sum()

    tokenizer = fisher.resident.processor.tokenizer
    for item in fisher.items():
        (passage,) = item.passages
        said = tokenizer.decode(
            passage.inputs["input_ids"][0, -passage.answer :], skip_special_tokens=True
        )
        assert said.split() == item.example.texts["answer"].split()
    for expert in range(2):
        fisher.resident.become(fisher.alone(expert))
        for name, want in by_hand_fishers(fisher, gold).items():
            got = fisher.of(name)[expert]
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-6 * float(want.max()))
    assert not any(p.requires_grad for p in fisher.resident.module.parameters())
    assert all(p.grad is None for p in fisher.resident.module.parameters())


def test_fishers_of_pairs_are_of_the_reward_heads_choice(rewarded: Collected) -> None:
    head = rewarded.resident.score_head
    assert head is not None

    def gold(model: nn.Module, item: Item) -> Tensor:
        base: Any = model.base_model
        chosen, rejected = (
            head(base(**p.inputs).last_hidden_state[0, -1])[0] for p in item.passages
        )
        return -torch.log1p(torch.exp(rejected - chosen))

    rewarded.resident.become(rewarded.alone(1))
    for name, want in by_hand_fishers(rewarded, gold).items():
        got = rewarded.of(name)[1]
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-6 * float(want.max()))


def test_pairs_judged_by_log_probability_give_their_own_margins(rewarded: Collected) -> None:
    judged: Any = replace(rewarded.objectives.main[0], scorer="log_probability")  # type: ignore[type-var]
    live = rewarded.resident
    live.become(rewarded.alone(0))
    scores = score_all(judged, live, "selection").scores
    margins = {score.id: score.margin for score in scores}
    for item in make_items(live, [judged], "selection", ITEMS):
        with torch.no_grad():
            hidden = [live.module.base_model(**p.inputs).last_hidden_state for p in item.passages]  # type: ignore[operator]
            value = item.log_likelihood(live, hidden)
        margin = torch.tensor(margins[item.example.id])
        torch.testing.assert_close(
            value, torch.nn.functional.logsigmoid(margin), atol=1e-5, rtol=0
        )


def test_a_likelihood_that_is_not_finite_is_named_by_example(rewarded: Collected) -> None:
    class Broken:
        def log_likelihood(self, *_: object) -> Tensor:
            return torch.tensor(float("nan"), requires_grad=True)

        name = "broken"

    items = [replace(item, objective=Broken()) for item in rewarded.items()]  # type: ignore[arg-type]
    with pytest.raises(ObjectiveError, match=r"broken: preferences-selection-\d+: the log-likel"):
        diagonal_fishers(rewarded.resident, items, rewarded.resident.parameters)
    assert not any(p.requires_grad for p in rewarded.resident.module.parameters())


@pytest.mark.parametrize("method", ["regmean", "regmean++", "fisher"])
def test_whole_models_are_observed_where_all_of_them_is_merged(
    small_study: MakeStudy, method: str
) -> None:
    """Experts of the target's own class, nothing excluded: the tower and the projector too."""
    experts = [{"model": f"models/skill_{name}", "name": name} for name in ("sums", "places")]
    one = collected(
        small_study,
        "reasoning",
        method,
        f"c-whole-{method.replace('+', 'p')}",
        experts=experts,
        base=None,
        exclude=[],
        statistics={
            "items": 2, "objective": {"sums": "reasoning", "places": "perception"},
        },
    )  # fmt: skip
    tower = [n for n in one.names() if "vision_tower" in n and n.endswith("q_proj.weight")]
    projector = [n for n in one.names() if "multi_modal_projector.linear_1.weight" in n]
    assert tower
    assert projector
    for name in [*tower, *projector]:
        assert all(float(tensor.abs().max()) > 0 for tensor in one.of(name)), name
    heads = [n for n in one.names() if n == "lm_head.weight"]
    assert all(float(tensor.abs().max()) > 0 for name in heads for tensor in one.of(name))
    one.resident.become(one.study.template)


def test_items_are_spread_over_the_data(regmean: Collected) -> None:
    examples = regmean.objectives.main[0].examples("selection")
    assert [examples.index(e) for e in spread(examples, 4)] == [0, 6, 12, 18]
    assert spread(examples, 10_000) == list(examples)


def test_statistics_are_collected_once_and_the_same_bytes_again(
    regmean: Collected, small_study: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    study = regmean.study
    path = study.out / "statistics.safetensors"
    before = path.stat()
    assert collect_statistics(read_study(study.file.path)) == study.template.statistics
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert "collecting" not in capsys.readouterr().err
    again = collected(small_study, "reasoning", "regmean", "c-again")
    assert "42 tensors of each of 2 experts, 2.95 MB" in capsys.readouterr().err
    assert (again.study.out / "statistics.safetensors").read_bytes() == path.read_bytes()


def test_statistics_of_other_settings_are_refused(regmean: Collected) -> None:
    study = regmean.study
    text = study.file.path.read_text()
    changed = study.file.path.with_name("c-changed.yaml")
    changed.write_text(text.replace(f"items: {ITEMS}", "items: 4"))
    with pytest.raises(UserError, match=r"other settings \(examples_sha256, items\)"):
        collect_statistics(read_study(changed))
    path = study.out / "statistics.safetensors"
    kept = path.read_bytes()
    path.write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"not a safetensors file .*; delete it to collect anew"):
        collect_statistics(read_study(study.file.path))
    path.write_bytes(kept)
    assert attach(study) == study
