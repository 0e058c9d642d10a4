"""Seeds of random masks: chosen as part of a candidate, or averaged over."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from merge_ops.errors import UserError
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.recipe_yaml import read_recipe
from merge_ops.registry import Value, all_ops
from search.degenerate import degenerate
from search.depth import Depth
from search.encoding import encode
from search.naming import SEED
from search.space import KnobRange, SearchSpace
from studies.budget import items_scored
from studies.ledger import read_trials
from studies.paths import RECIPE
from studies.run import run_study
from studies.setup import read_study
from studies.trial_facts import SEEDS, examples_of

Make = Callable[..., Path]
NAMES = tuple(f"model.layers.{i}.mlp.up_proj.weight" for i in range(2))


def space(op: str, /, **choices: tuple[Value, ...]) -> SearchSpace:
    template = Recipe(
        op,
        (Source("a"), Source("b")),
        "base",
        {"density": (Entry(None, 0.5),)},
        target="t",
        seed=7,
    )
    ranges = {"weight": KnobRange(0.1, 1.0)}
    return SearchSpace(template, ("a", "b"), ranges, Depth(2), names=NAMES, choices=choices)


def test_no_method_has_a_parameter_of_that_name() -> None:
    assert not [op.name for op in all_ops() if SEED in op.parameters()]


def test_a_seed_is_a_choice_without_an_order() -> None:
    one = space("dare_linear", seed=(3, 7, 5))
    choice = one.dimensions()[-1]
    assert (choice.name, choice.default) == ("seed", 7)
    assert choice.ranked() is None  # type: ignore[union-attr]
    point = {d.name: d.default for d in one.dimensions()}
    recipe = one.decode({**point, "seed": 5})
    assert recipe.seed == 5
    assert encode(one, recipe)["seed"] == 5
    assert recipe.digest() != one.decode({**point, "seed": 3}).digest()
    assert degenerate(one) == []


def test_a_method_that_draws_nothing_has_one_recipe_whatever_the_seed() -> None:
    one = space("ties", seed=(3, 7), method=("ties", "dare_ties"))
    point = {d.name: d.default for d in one.dimensions()}
    assert one.decode({**point, "seed": 3}) == one.decode({**point, "seed": 7})
    drawn = {**point, "method": "dare_ties"}
    assert one.decode({**drawn, "seed": 3}) != one.decode({**drawn, "seed": 7})


def study(small_study: Make, out: str, search: dict[str, Any], **changes: Any) -> Path:
    common = {"method": "dare_linear", "compare": False, "warm_start": [], "trials": 4}
    search = {"knobs": {"weight": [0.1, 1.0]}, **search}
    fixed = {} if "parameters" in changes else {"parameters": {"density": 0.5}}
    return small_study(
        "reasoning", out=out, search=search, **{"sampler": "tpe", **common, **fixed, **changes}
    )


def test_the_winner_names_its_seed(small_study: Make) -> None:
    one = read_study(study(small_study, "seeds", {"choices": {"seed": [11, 12, 13]}}))
    results = run_study(one)
    seed = read_trials(one.out)[results["winner"]["trial"]].params["seed"]
    assert results["winner"]["choices"] == {"seed": seed}
    assert read_recipe(one.out / RECIPE).seed == seed in (11, 12, 13)


def test_a_candidate_is_the_mean_over_seeds_and_the_recipe_has_the_first(
    small_study: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    from studies.engine_setup import make_engine
    from studies.evaluator import Evaluator
    from studies.model_setup import load_models
    from studies.objectives_setup import make_objectives
    from studies.setup import identities
    from studies.space_setup import make_space

    path = study(
        small_study, "mean", {"average_seeds": 3}, seed=20, racing={"rule": "test", "block": 10}
    )
    one = read_study(path)
    results = run_study(one)
    assert "nothing is raced: a candidate is scored with several seeds" in capfd.readouterr().err
    trial = read_trials(one.out)[1]
    assert trial.user_attrs[SEEDS] == 3
    assert examples_of(trial) == 3 * 48
    assert items_scored([trial]) == 3 * 48
    recipe = read_recipe(one.out / RECIPE)
    assert recipe.seed == 20
    assert recipe.provenance["selection"]["mean_over_seeds"] == [20, 21, 22]
    assert results["average_seeds"] == 3
    resident, known = load_models(one), identities(one)
    evaluator = Evaluator(
        resident,
        make_objectives(one.config, one.folder).main,
        one.out,
        known,
        engine=make_engine(one, one.template.kept_from(), known),
    )
    made = make_space(one, resident.layers, resident.merged_names).decode(trial.params)
    parts = [evaluator.score(replace(made, seed=s), "selection").sets for s in (20, 21, 22)]
    for i, (name, values) in enumerate(json.loads(trial.user_attrs["scores"]).items()):
        assert parts[0][i].objective == name
        columns = zip(*([s.value for s in sets[i].scores] for sets in parts), strict=True)
        assert values == [pytest.approx(sum(column) / 3) for column in columns]


@pytest.mark.parametrize(
    ("search", "changes", "words"),
    [
        ({"choices": {"seed": [1, 2]}}, {"method": "ties"}, "ties draws no random masks"),
        ({"average_seeds": 2}, {"method": "ties"}, "ties draws no random masks"),
        ({"average_seeds": 2, "choices": {"seed": [1, 2]}}, {}, "chosen .* or averaged"),
        ({"choices": {"seed": [1, 2.5]}}, {}, "seed.1: a seed is a whole number"),
        ({"choices": {"seed": [1, True]}}, {}, "seed.1: a seed is a whole number"),
        ({"choices": {"seed": [1, 1]}}, {}, "stands here twice"),
        ({"choices": {"seed": [1, 2, 3]}}, {"sampler": "cma"}, "three or more seeds have none"),
    ],
)
def test_seeds_that_cannot_be(
    small_study: Make, search: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        read_study(study(small_study, "no-seeds", search, **changes))
