"""The registry and the checks of one call: what a user can get wrong, and what is said then."""

from collections.abc import Sequence
from typing import Annotated, Any

import pytest
import torch
from torch import Tensor

from merge_ops import merge_tensor
from merge_ops.errors import UserError
from merge_ops.knobs import Knob
from merge_ops.registry import all_ops, get_op, merge_op

X = torch.ones(2, 3)
METHODS = {
    "arcee_fusion",
    "aswudi",
    "breadcrumbs",
    "breadcrumbs_ties",
    "consensus_ta",
    "dare_linear",
    "dare_ties",
    "della",
    "della_linear",
    "emr",
    "fisher",
    "iso_c",
    "karcher",
    "linear",
    "localize_and_stitch",
    "model_stock",
    "multislerp",
    "nearswap",
    "nuslerp",
    "optmerge",
    "passthrough",
    "pcb",
    "ram",
    "ramplus_tl",
    "regmean",
    "regmean++",
    "sce",
    "slerp",
    "swudi",
    "task_arithmetic",
    "ties",
    "tsv",
    "wudi",
}


def test_every_method_is_found_in_the_order_of_names() -> None:
    names = [op.name for op in all_ops()]
    assert names == sorted(names)
    assert set(names) >= METHODS


def test_knobs_are_as_published() -> None:
    def told(method: str, knob: str) -> tuple[float, float, float, bool, bool]:
        k = get_op(method).knobs[knob]
        return k.low, k.high, k.default, k.per_expert, k.log

    assert told("slerp", "t") == (0.0, 1.0, 0.5, False, False)
    assert told("ties", "density") == (0.05, 1.0, 1.0, True, False)
    assert told("della", "epsilon") == (0.0, 0.3, 0.15, True, False)
    assert told("breadcrumbs", "gamma") == (0.0, 0.05, 0.01, True, False)
    assert told("consensus_ta", "mask_lambda") == (0.2, 0.6, 0.4, True, False)
    assert told("swudi", "t") == (100.0, 2000.0, 300.0, False, True)
    assert told("swudi", "r") == (0.01, 1.0, 0.65, False, True)


def test_normalize_and_rescale_have_the_defaults_of_the_sources() -> None:
    normalized = {op.name for op in all_ops() if op.options.get("normalize") is True}
    rescaled = {op.name for op in all_ops() if op.options.get("rescale") is True}
    assert normalized == {"linear", "ties", "della"}
    assert rescaled == {"dare_linear", "dare_ties", "della", "della_linear"}


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("tie", {}, r"'tie', did you mean 'ties'\?"),
        ("ties", {"densty": 0.5}, r"'densty', did you mean 'density'\?"),
        ("ties", {"density": [0.5, 0.5, 0.5]}, r"one number per expert \(2\)"),
        ("ties", {"density": "half"}, "density must be a number, but got 'half'"),
        ("ties", {"lambda": [1.0, 2.0]}, "lambda takes one number"),
        ("ties", {"normalize": 1}, "normalize must be true or false, but got 1"),
        ("dare_linear", {"rescale": "l2"}, "must be true, false or 'l1', but got 'l2'"),
        ("wudi", {"solver": "sgd"}, "must be 'closed_form' or 'adam', but got 'sgd'"),
        ("wudi", {"steps": 2.5}, "steps must be a whole number, but got 2.5"),
        ("optmerge", {"rank_share": "all"}, "must be a number or '1/N', but got 'all'"),
        ("aswudi", {"rule": "entropi"}, r"did you mean 'entropy'\?"),
        ("aswudi", {"rule": "cumvar_all"}, "a share x in"),
        ("aswudi", {"rule": "cumvar_1.5"}, "a share x in"),
        ("slerp", {}, "slerp merges 1 to 1 models beside the base, but got 2"),
        ("emr", {"expert": 2}, r"expert must be in 0..1, but got 2"),
        ("consensus_ta", {"k": 3}, r"k must be in 1..2, but got 3"),
        ("linear", {"weight": [1.0, -1.0]}, "weights that do not sum to 0"),
        ("multislerp", {"weight": 0.0}, "weights that do not sum to 0"),
        ("della", {"density": 0.9, "epsilon": 0.2}, r"density \+ epsilon < 1"),
        ("regmean", {"grams": [torch.ones(2, 2)] * 2}, "Gram matrices have shapes"),
        ("fisher", {"fishers": [X]}, "one tensor of the weight's shape"),
        ("fisher", {"weight": [1.0, -0.5]}, "weights of at least 0 that do not sum to 0"),
        ("regmean++", {"weight": 0.0}, "weights of at least 0 that do not sum to 0"),
    ],
)
def test_mistakes_are_told_with_their_values(
    method: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        merge_tensor(method, X, [X, X], **params)


def test_shapes_must_agree() -> None:
    with pytest.raises(UserError, match=r"the base's shape \(2, 3\), but has \(3,\)"):
        merge_tensor("linear", X, [torch.ones(3)])


def test_statistics_are_no_recipe_key() -> None:
    for name in ("regmean", "regmean++"):
        assert get_op(name).parameters() == ["a", "weight"]
    assert get_op("fisher").parameters() == ["weight"]


def test_a_name_is_registered_once() -> None:
    def ties(base: Tensor, experts: Sequence[Tensor], /) -> Tensor:
        return base + len(experts)

    with pytest.raises(ValueError, match="already registered"):
        merge_op(paper="none")(ties)
    with pytest.raises(ValueError, match=r"'regmean\+\+' is already registered"):
        merge_op(paper="none", name="regmean++")(ties)


def test_a_knob_has_its_default_in_one_place() -> None:
    def unsettled(
        base: Tensor, experts: Sequence[Tensor], /, *, t: Annotated[float, Knob(0.0, 1.0)]
    ) -> Tensor:
        return base * t + len(experts)

    def outside(
        base: Tensor, experts: Sequence[Tensor], /, *, t: Annotated[float, Knob(0.0, 1.0)] = 2.0
    ) -> Tensor:
        return base * t + len(experts)

    with pytest.raises(ValueError, match="a default in the signature, or one per expert"):
        merge_op(paper="none")(unsettled)
    with pytest.raises(ValueError, match="low <= default <= high"):
        merge_op(paper="none")(outside)
    with pytest.raises(ValueError, match="low < high"):
        Knob(1.0, 0.0)
    with pytest.raises(ValueError, match="0 < low"):
        Knob(0.0, 1.0, log=True)
