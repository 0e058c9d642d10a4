"""Mergekit's configurations as people have them: idle keys are noted, harmful ones refused."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from merge_ops.mergekit_keys import METHODS
from merge_ops.recipe import Entry
from merge_ops.recipe_yaml import parse_recipe, read_recipe
from merge_ops.registry import all_ops
from studies import cli

FILE = """\
models:
  - model: base
    # no parameters necessary for the base
    parameters:
  - model: a
    parameters:
      density: 0.5
      weight: {value: 0.3}
merge_method: ties
base_model: base
parameters:
  normalize: 1.0
  int8_mask: true
dtype: bfloat16
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("base", "a"):
        (tmp_path / name).mkdir()
    return tmp_path


def notes_of(text: str, folder: Path) -> list[str]:
    path = folder / "r.yaml"
    path.write_text(text)
    notes: list[str] = []
    read_recipe(path, notes)
    return [note.removeprefix(f"{folder}/") for note in notes]


def test_a_common_configuration_is_read_as_it_is(folder: Path) -> None:
    assert notes_of(FILE, folder) == ["r.yaml:13: int8_mask has no effect here"]
    recipe = read_recipe(folder / "r.yaml")
    assert recipe.parameters == {"normalize": (Entry(None, value=True),)}
    assert recipe.models[1].parameters["weight"] == (Entry(None, 0.3),)


@pytest.mark.parametrize(
    "line",
    [
        "chat_template: chatml",
        "tokenizer_source: base",
        "tokenizer: {source: base}",
        "tokenizer: {source: base, tokens: {}, pad_to_multiple_of: null}",
        "name: my-merge",
        "random_seed: 0",
        "write_model_card: false",
        "allow_crimes: true",
    ],
)
def test_keys_that_decide_no_weight_are_noted(folder: Path, line: str) -> None:
    notes = notes_of(f"{line}\n{FILE}", folder)
    assert len(notes) == 2
    assert re.match(rf"r\.yaml:1: {line.partition(':')[0]}[.\w]* has no effect here", notes[0])
    plain = read_recipe(folder / "r.yaml")
    assert plain == parse_recipe(FILE, folder / "r.yaml")


@pytest.mark.parametrize(
    ("method", "line", "noted"),
    [
        ("model_stock", "normalize: false", "normalize"),
        ("task_arithmetic", "density: 0.3", "density"),
        ("slerp", "int8_mask: true", "int8_mask"),
        ("linear", "lambda: 0.5", "lambda"),
    ],
)
def test_parameters_that_mergekit_passes_over_are_noted(
    folder: Path, method: str, line: str, noted: str
) -> None:
    (folder / "b").mkdir()
    second = "  - model: b\n" if method == "model_stock" else ""
    text = f"models:\n  - model: a\n{second}merge_method: {method}\nbase_model: base\n"
    line_of = text.count("\n") + 2
    assert notes_of(f"{text}parameters:\n  {line}\n", folder) == [
        f"r.yaml:{line_of}: {noted} has no effect here"
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tokenizer_source: union", "r.yaml:1:1: tokenizer_source: 'union' would change the embe"),
        ("tokenizer_source: a", "tokenizer_source: 'a' would change the embeddings"),
        ("tokenizer: {}", "r.yaml:1:1: tokenizer.source: 'union' would change the embeddings"),
        ("tokenizer: {source: base, pad_to_multiple_of: 8}", "r.yaml:1:27: tokenizer.pad_to_mul"),
        ("tokenizer: {source: base, tokens: {x: {source: a}}}", "tokenizer.tokens: would change"),
        ("tokenizer: {suorce: base}", "tokenizer.suorce: unknown key, did you mean 'source'?"),
        ("tokenizer: base", "tokenizer: must be a mapping, but got 'base'"),
        ("modules: {default: {}}", "r.yaml:1:1: modules: is not supported"),
        ("chat_templte: x", "chat_templte: unknown key"),
        ("random_sed: 1", "random_sed: unknown key"),
    ],
)
def test_keys_that_would_decide_weights_and_unknown_ones_are_refused(
    folder: Path, line: str, expected: str
) -> None:
    with pytest.raises(UserError, match=re.escape(expected)):
        parse_recipe(f"{line}\n{FILE}", folder / "r.yaml")


def test_a_parameter_that_nobody_knows_is_still_an_error(folder: Path) -> None:
    with pytest.raises(UserError, match="ties has no parameter 'int8_maks'"):
        parse_recipe(FILE.replace("int8_mask", "int8_maks"), folder / "r.yaml")
    ours = "merge_method: tsv\nbase_model: base\nmodels: [{model: a}]\n"
    with pytest.raises(UserError, match="tsv has no parameter 'gamma'"):
        parse_recipe(f"{ours}parameters: {{gamma: 1}}\n", folder / "r.yaml")


def test_every_method_of_mergekit_is_here() -> None:
    assert {op.name for op in all_ops()} >= METHODS


def test_merge_prints_the_notes(llamas: dict[str, str], tmp_path: Path) -> None:
    models = f"[{{model: {llamas['a']}}}, {{model: {llamas['b']}}}]"
    text = f"merge_method: linear\nmodels: {models}\nparameters: {{int8_mask: true}}\n"
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    done = CliRunner().invoke(cli.app, ["merge", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert done.stderr.startswith(f"note: {path}:3: int8_mask has no effect here\n")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{model: {path: a}}", "a"),
        ("{model: {path: a, revision: null}, lora: null, override_architecture: null}", "a"),
        ("{model: owner/name, lora: {path: a}}", "owner/name+a"),
        (
            "{model: {path: owner/name, revision: v1}, lora: {path: o/adapter, revision: b2}}",
            "owner/name@v1+o/adapter@b2",
        ),
    ],
)
def test_models_written_as_mergekits_mappings(folder: Path, written: str, meant: str) -> None:
    mapping = FILE.replace("model: a", f"model: {written}")
    text = FILE.replace("model: a", f"model: {meant}")
    assert parse_recipe(mapping, folder / "r.yaml") == parse_recipe(text, folder / "r.yaml")
    as_base = FILE.replace("base_model: base", f"base_model: {written}")
    meant_base = FILE.replace("base_model: base", f"base_model: {meant}")
    assert parse_recipe(as_base, folder / "r.yaml") == parse_recipe(meant_base, folder / "r.yaml")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{path: a}", "must be `path` or `path@revision+adapter@revision`"),
        ("{model: {revision: v1}}", "a mapping of path, with revision if it is of the hub"),
        ("{model: {path: 3}}", "path and revision must be text, but are 3 and None"),
        ("{model: a, lora: [a]}", "but has ['a']"),
        ("{model: a, loras: a}", "but has model, loras"),
        ("{model: a, override_architecture: X}", "config.json names the class"),
    ],
)
def test_mappings_without_a_meaning_are_refused(folder: Path, written: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        parse_recipe(FILE.replace("model: a", f"model: {written}"), folder / "r.yaml")
    assert "r.yaml:5:" in str(refused.value)
    assert "models.1.model: " in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2
