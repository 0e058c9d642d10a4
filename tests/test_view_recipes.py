"""Recipes of EMR that name tasks, and the views that they are made of."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merge_ops import merge_tensor
from merge_ops.errors import UserError
from merge_ops.methods.emr import unified
from merge_ops.recipe import Entry, Recipe
from merge_ops.recipe_text import recipe_text
from merge_ops.recipe_yaml import parse_recipe
from merge_ops.task_vectors import task_vectors
from merge_ops.view_recipes import UNIFIED, name_problem, view_name, view_of
from merge_ops.yaml_file import MAX_KEY
from tests.views import ODD, live, recipe_of, weights_of


def test_without_an_expert_emr_is_the_unified_model() -> None:
    base, a, b = (torch.randn(4, 5, generator=torch.Generator().manual_seed(i)) for i in range(3))
    whole = base + unified(task_vectors(base, [a, b]))
    assert torch.equal(merge_tensor("emr", base, [a, b]), whole)
    assert torch.equal(merge_tensor("emr", base, [a, b], expert=UNIFIED), whole)
    assert not torch.equal(merge_tensor("emr", base, [a, b], expert=0), whole)


def test_a_recipe_with_tasks_is_the_unified_model_and_its_views_are_recipes(
    near: dict[str, str],
) -> None:
    recipe = recipe_of(near)
    assert recipe.has_views()
    views = {task: view_of(recipe, task) for task in (*recipe.tasks, UNIFIED)}
    assert [view_name(v) for v in views.values()] == ["first", ODD, UNIFIED]
    assert not any(v.has_views() for v in views.values())
    assert len({recipe.digest(), *(v.digest() for v in views.values())}) == 4
    base, a, b = map(weights_of, (near["base"], near["a"], near["b"]))
    for expert, task in enumerate(recipe.tasks):
        for name, tensor in live(views[task]).items():
            want = merge_tensor("emr", base[name], [a[name], b[name]], expert=expert)
            assert torch.equal(tensor, want), name
    shared = live(recipe)
    assert all(torch.equal(t, shared[n]) for n, t in live(views[UNIFIED]).items())


def test_names_of_tasks_decide_what_a_recipe_with_views_is(near: dict[str, str]) -> None:
    recipe = recipe_of(near)
    turned = replace(recipe, tasks={"first": near["b"], ODD: near["a"]})
    assert recipe.digest() != turned.digest()
    ordered = replace(recipe, tasks=dict(reversed(list(recipe.tasks.items()))))
    assert recipe.digest() == ordered.digest()
    sums = {near[name]: name for name in near}
    assert view_of(recipe, "first").digest(sums) == view_of(turned, ODD).digest(sums)


@given(
    names=st.lists(
        st.text(min_size=1, max_size=MAX_KEY).filter(
            lambda t: t.isprintable() and t.strip() and t != UNIFIED
        ),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_tasks_of_any_name_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    models = {}
    for name in ("base", "a", "b"):
        (folder / "study" / name).mkdir(parents=True, exist_ok=True)
        models[name] = str((folder / "study" / name).resolve())
    tasks = dict(zip(names, (models["a"], models["b"]), strict=True))
    recipe = recipe_of(models, tasks=tasks)
    for variant in (recipe, view_of(recipe, names[1])):
        text = recipe_text(variant, folder / "study")
        again = parse_recipe(text, folder / "study" / "recipe.yaml")
        assert again == variant
        assert list(again.tasks) == names


def test_a_tasks_name_is_no_longer_than_a_key_may_be() -> None:
    assert name_problem("x" * MAX_KEY) is None
    assert name_problem("x" * (MAX_KEY + 1)) == (
        "a task's name must have at most 200 characters, but has 201"
    )


GOOD = """\
merge_method: emr
base_model: base
models:
  - model: a
  - model: b
mergetuna:
  version: 1
  target: base
  tasks:
    places: a
    sums: b
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("sums: b", "sums: base"), "r.yaml:11:5: mergetuna.tasks.sums: this is the base_model"),
        (("sums: b", "sums: a"), "r.yaml:11:5: mergetuna.tasks.sums: a is the expert of task"),
        (("sums: b", "sums: spare"), "sums: must be one of `models`, ['a', 'b'], but is 'spare'"),
        (("sums: b", "sums: ./bb"), "r.yaml:11:5: mergetuna.tasks.sums: './bb' is neither"),
        (("sums: b", "unified: b"), "'unified' names what all views share"),
        (("sums: b", '"": b'), "must be printable text on one line"),
        (("sums: b", '"x\\ny": b'), "a key must be one line of at most 200 characters"),
        (("  tasks:", "  taks:"), "unknown key, did you mean 'tasks'?"),
        (("merge_method: emr", "merge_method: ties"), "ties gives one model for all tasks"),
        (("mergetuna:", "parameters: {expert: 2}\nmergetuna:"), "a whole number in 0..1"),
        (("mergetuna:", "parameters: {expert: -1}\nmergetuna:"), "a whole number in 0..1"),
        (
            ("mergetuna:", "parameters: {expert: unifed}\nmergetuna:"),
            "r.yaml:6:14: parameters.expert: must be a whole number or 'unified', but got 'unif",
        ),
        (
            ("mergetuna:", "parameters: {expert: [{filter: mlp, value: 1}]}\nmergetuna:"),
            "it picks one view for the whole model",
        ),
    ],
)
def test_a_mistake_about_tasks_is_one_line_with_its_place(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    for name in ("base", "a", "b", "spare"):
        (tmp_path / name).mkdir()
    assert parse_recipe(GOOD, tmp_path / "r.yaml").has_views()
    with pytest.raises(UserError) as caught:
        parse_recipe(GOOD.replace(*change, 1), tmp_path / "r.yaml")
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_view_must_be_there_to_be_picked(near: dict[str, str]) -> None:
    recipe = recipe_of(near)
    with pytest.raises(UserError, match="there is no task 'frist', did you mean 'first'"):
        view_of(recipe, "frist")
    with pytest.raises(UserError, match="is the view 'first' already"):
        view_of(view_of(recipe, "first"), ODD)
    for plain in (replace(recipe, tasks={}), Recipe("linear", recipe.models)):
        with pytest.raises(UserError, match=r"names none; methods that give views: emr\."):
            view_of(plain, "first")


def test_one_view_may_be_read_from_parameters_alone(near: dict[str, str]) -> None:
    plain = recipe_of(near, tasks={}, parameters={"expert": (Entry(None, 1),)})
    named = view_of(recipe_of(near), ODD)
    assert plain.digest() == named.digest()
    assert view_name(plain) is None


def test_tasks_are_written_where_no_target_is_named(near: dict[str, str], tmp_path: Path) -> None:
    recipe = recipe_of(near, target=None)
    again = parse_recipe(recipe_text(recipe, tmp_path), tmp_path / "recipe.yaml")
    assert again.tasks == recipe.tasks
    assert again.digest() == recipe.digest()
