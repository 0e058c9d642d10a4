"""Recipes: depth, filters, exclusions, digests, YAML and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merge_ops.errors import UserError
from merge_ops.recipe import Entry, Recipe, Setting, Source
from merge_ops.recipe_text import recipe_text
from merge_ops.recipe_yaml import parse_recipe, read_recipe
from merge_ops.registry import all_ops, get_op
from merge_ops.resolving import at_depth, lookup, resolve

numbers = st.floats(-3, 3, allow_nan=False)


@given(st.lists(numbers, min_size=2, max_size=40))
def test_a_gradient_of_as_many_entries_as_layers_is_one_value_per_layer(
    values: list[float],
) -> None:
    layers = len(values)
    assert [at_depth(tuple(values), i, layers) for i in range(layers)] == values


def test_a_shorter_gradient_is_interpolated_linearly() -> None:
    assert [at_depth((0.0, 1.0), i, 5) for i in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_tensors_outside_the_layers_take_the_first_entry() -> None:
    assert at_depth((0.3, 0.9), None, 5) == 0.3


def test_a_model_of_one_layer_takes_the_last_entry_as_in_mergekit() -> None:
    assert at_depth((0.3, 0.9), 0, 1) == 0.9


def test_the_first_matching_filter_wins_and_a_filter_is_a_substring() -> None:
    setting: Setting = (Entry("layers.1", 1.0), Entry("mlp", 2.0), Entry(None, 3.0))
    assert lookup(setting, "model.layers.12.mlp.up_proj.weight", 12, 20) == 1.0
    assert lookup(setting, "model.layers.3.mlp.up_proj.weight", 3, 20) == 2.0
    assert lookup(setting, "model.norm.weight", None, 20) == 3.0
    assert lookup(setting[:2], "model.norm.weight", None, 20) is None


def test_a_models_own_setting_comes_before_the_common_one_and_the_default() -> None:
    own = Source("a", {"weight": (Entry("mlp", 0.5),)})
    recipe = Recipe("ties", (own, Source("b")), "base", {"density": (Entry(None, 0.4),)})
    values = resolve(recipe, get_op("ties"), "model.layers.0.mlp.up_proj.weight", 0, 2)
    assert values == {"weight": [0.5, 1.0], "density": [0.4, 0.4]}


def test_a_listed_base_is_no_expert_of_a_method_that_needs_it() -> None:
    recipe = Recipe("ties", (Source("base"), Source("a")), "base")
    assert recipe.experts(get_op("ties")) == [1]
    assert recipe.experts(get_op("linear")) == [0, 1]


def test_the_digest_covers_weights_and_nothing_else() -> None:
    recipe = Recipe("linear", (Source("x/a"), Source("x/b")), target="x/t", provenance={"n": 1})
    other = Recipe("linear", (Source("x/a"), Source("x/b")), target="x/t", provenance={"n": 2})
    assert recipe.digest() == other.digest()
    moved = Recipe("linear", (Source("y/a"), Source("y/b")), target="y/t")
    assert recipe.digest() != moved.digest()
    sums = {f"{root}/{name}": name for root in "xy" for name in "abt"}
    assert recipe.digest(sums) == moved.digest(sums)


settings = st.lists(
    st.tuples(
        st.sampled_from(["mlp", "self_attn", "layers.0.", "norm"]),
        st.one_of(numbers, st.lists(numbers, min_size=1, max_size=4).map(tuple)),
    ).map(lambda pair: Entry(*pair)),
    max_size=3,
).map(lambda entries: (*entries, Entry(None, 0.5)))


@given(weights=st.tuples(settings, settings), exclude=st.booleans(), seed=st.integers(0, 9))
def test_a_recipe_through_yaml_and_back_is_the_same_recipe(
    tmp_path_factory: pytest.TempPathFactory,
    weights: tuple[Setting, Setting],
    exclude: bool,
    seed: int,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("t", "e", "study"):
        (folder / name).mkdir(exist_ok=True)
    models = [str((folder / name).resolve()) for name in ("t", "e")]
    recipe = Recipe(
        "dare_ties",
        tuple(Source(m, {"weight": w}) for m, w in zip(models, weights, strict=True)),
        models[0],
        {"density": (Entry(None, 0.25),), "rescale": (Entry(None, "l1"),)},
        dtype="float32",
        target=models[0],
        exclude=("embed_tokens", "lm_head") if exclude else (),
        seed=seed,
        provenance={"study": "s", "score": 0.5},
    )
    text = recipe_text(recipe, folder / "study")
    assert "../t" in text
    again = parse_recipe(text, folder / "study" / "recipe.yaml")
    assert again == recipe
    assert again.digest() == recipe.digest()


@given(data=st.data())
def test_a_recipe_of_any_method_through_yaml_and_back_is_the_same_recipe(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("base", "m0", "m1", "study"):
        (folder / name).mkdir(exist_ok=True)
    op = data.draw(st.sampled_from([op for op in all_ops() if not op.traits.statistics]))
    count = data.draw(st.integers(op.min_experts, min(2, op.max_experts or 2)))
    models = [str((folder / f"m{i}").resolve()) for i in range(count)]
    base = str((folder / "base").resolve()) if op.needs_base else None

    def setting(low: float, high: float) -> Setting:
        number = st.floats(low, high)
        value = number | st.lists(number, min_size=2, max_size=3).map(tuple)
        entries = data.draw(st.lists(st.tuples(st.sampled_from(["mlp", "norm"]), value)))
        return (*(Entry(*pair) for pair in entries), Entry(None, data.draw(value)))

    own: list[dict[str, Setting]] = [{} for _ in models]
    common: dict[str, Setting] = {}
    for name, knob in op.knobs.items():
        places = [*own, common] if knob.per_expert else [common]
        for place in places:
            if data.draw(st.booleans()):
                place[name] = setting(knob.low, knob.high)
    for name, default in op.options.items():
        if data.draw(st.booleans()):
            value = data.draw(st.booleans()) if isinstance(default, bool) else default
            common[name] = (Entry(None, value),)
    dtypes = st.sampled_from([None, "float32", "bfloat16", "float16"])
    recipe = Recipe(
        op.name,
        tuple(Source(m, p) for m, p in zip(models, own, strict=True)),
        base,
        common,
        data.draw(dtypes),
        data.draw(dtypes),
        target=data.draw(st.sampled_from([base or models[0], models[-1]])),
        exclude=data.draw(st.sampled_from([(), ("embed_tokens",), ("lm_head", "layers.1.")])),
        seed=data.draw(st.integers(0, 2**40)),
    )
    again = parse_recipe(recipe_text(recipe, folder / "study"), folder / "study" / "recipe.yaml")
    assert again == recipe
    assert again.digest() == recipe.digest()


GOOD = """\
merge_method: ties
base_model: base
models:
  - model: a
    parameters: {weight: 0.5, density: [0.2, 0.8]}
  - model: b
parameters: {normalize: true}
dtype: float32
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("base", "a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_models_that_lie_near_are_named_relative_to_the_recipe(tmp_path: Path) -> None:
    study = tmp_path / "home" / "night" / "runs" / "study"
    near, far = tmp_path / "home" / "night" / "models" / "a", tmp_path / "elsewhere" / "b"
    for folder in (study, near, far):
        folder.mkdir(parents=True)
    recipe = Recipe("linear", (Source(str(near)), Source(str(far)), Source("owner/name@main")))
    text = recipe_text(recipe, study)
    assert "model: ../../models/a\n" in text
    assert f"model: {far}\n" in text
    assert parse_recipe(text, study / "r.yaml") == recipe


def test_a_plain_mergekit_configuration_is_a_recipe(folder: Path) -> None:
    recipe = parse_recipe(GOOD, folder / "r.yaml")
    assert recipe.kept_from() == str(folder / "base")
    assert recipe.exclude == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("weight: 0.5", "wieght: 0.5"),
            "r.yaml:5:18: models.0.parameters.wieght: ties has no par",
        ),
        (("weight: 0.5", "wieght: 0.5"), "did you mean 'weight'?"),
        (
            ("merge_method: ties", "merge_method: tise"),
            "r.yaml:1:1: merge_method: there is no meth",
        ),
        (("merge_method", "merge_methd"), "unknown key, did you mean 'merge_method'?"),
        (("[0.2, 0.8]", "[0.2, 1.8]"), "a density is a share and must lie in [0, 1]"),
        (("0.5", "'0.5'"), "must be a finite number"),
        (("0.5", ".inf"), "must be a finite number"),
        (
            ("normalize: true", "normalize: 3"),
            "r.yaml:7:14: parameters.normalize: must be true or false",
        ),
        (
            ("base_model: base", "base_model: nowhere"),
            "r.yaml:2:1: base_model: 'nowhere' is neither",
        ),
        (("model: a", "model: a+lora"), "models.0.model: 'lora' is neither a folder"),
        (("model: a", "model: a+b+c"), "a model takes one adapter, model+adapter"),
        (("dtype: float32", "dtype: float64"), "r.yaml:8:1: dtype:"),
        (("base_model: base\n", ""), "ties needs a base_model"),
        (("dtype: float32", "dtype: float32\ndtype: float32"), "r.yaml:9:1: not valid YAML"),
        (("models:", "models: ["), "not valid YAML"),
        (("weight: 0.5,", "normalize: false,"), "put it under the top parameters"),
        (("weight: 0.5", "weight: [{filter: 3, value: 1}]"), "weight.0.filter: must be text"),
        (("weight: 0.5", "weight: [{filtr: q, value: 1}]"), "each entry must be {filter: text"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    folder: Path, change: tuple[str, str], expected: str
) -> None:
    path = folder / "r.yaml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    assert expected in str(caught.value)


def test_all_mistakes_are_named_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("weight: 0.5", "wieght: 0.5").replace("normalize", "normalise")
    with pytest.raises(UserError) as caught:
        parse_recipe(text, tmp_path / "r.yaml")
    assert [line.rpartition("r.yaml:")[2][:1] for line in str(caught.value).splitlines()] == [
        "2", "4", "5", "6", "7",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "- 1\n", "!!python/object:os.system {}\n", "a: \x00"])
def test_a_file_that_is_no_recipe_is_refused(folder: Path, text: str) -> None:
    path = folder / "r.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"r\.yaml:\d+:\d+: "):
        read_recipe(path)
