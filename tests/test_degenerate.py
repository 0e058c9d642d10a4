"""Searched values without effect are found before a search."""

import pytest

from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.registry import Value
from search.degenerate import degenerate
from search.depth import Depth, even_bands
from search.modules import listed, mapped
from search.space import KnobRange, SearchSpace

PARTS = ("self_attn.q_proj", "mlp.up_proj")
NAMES = tuple(f"model.layers.{i}.{part}.weight" for i in range(4) for part in PARTS)
WEIGHT = {"weight": KnobRange(0.1, 1.5)}


def space(
    method: str,
    ranges: dict[str, KnobRange],
    depth: Depth | None = None,
    *,
    experts: int = 2,
    choices: dict[str, tuple[Value, ...]] | None = None,
    **fixed: Value,
) -> SearchSpace:
    labels = tuple("abc"[:experts])
    parameters = {k: (Entry(None, v),) for k, v in fixed.items()}
    template = Recipe(method, tuple(map(Source, labels)), "base", parameters, target="t")
    modules = listed(["attention", "mlp"])
    return SearchSpace(template, labels, ranges, depth or Depth(4), modules, NAMES, choices or {})


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare_linear", "dare_ties"])
def test_spaces_in_which_all_counts(method: str) -> None:
    density = {} if method == "task_arithmetic" else {"density": KnobRange(0.2, 0.9)}
    assert degenerate(space(method, WEIGHT | density, even_bands(4, 2), normalize=False)) == []


@pytest.mark.parametrize("method", ["linear", "ties", "task_arithmetic"])
def test_normalised_weights_count_by_their_ratio_alone(method: str) -> None:
    (line,) = degenerate(space(method, WEIGHT, normalize=True))
    assert "only the ratios of the weights count" in line
    shares = {"weight": KnobRange(0.0, 1.0, coupled="simplex")}
    assert degenerate(space(method, shares, normalize=True)) == []


def test_one_normalised_weight_has_no_effect() -> None:
    lines = degenerate(space("linear", WEIGHT, experts=1, normalize=True))
    assert lines == [
        f"weight.a.0.{part} has no effect; freeze it or leave it out"
        for part in ("attention", "mlp")
    ]


def test_values_of_a_part_without_tensors_have_no_effect() -> None:
    template = Recipe("task_arithmetic", (Source("a"), Source("b")), "base", target="t")
    parts = mapped({"gates": ["gate_proj"], "others": ["self_attn", "mlp"]}, NAMES)
    found = degenerate(SearchSpace(template, ("a", "b"), WEIGHT, Depth(4), parts, NAMES))
    assert [line.split()[0] for line in found] == ["weight.a.0.gates", "weight.b.0.gates"]


def test_a_list_of_methods_and_options_is_tried_too() -> None:
    choices: dict[str, tuple[Value, ...]] = {"method": ("task_arithmetic", "ties")}
    assert degenerate(space("ties", WEIGHT, choices=choices)) == []
    lone = space("task_arithmetic", WEIGHT, choices={"normalize": (True, False)})
    assert degenerate(lone) == []
