"""What all commands have in common: examples in --help, JSON for scripts, completion."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from search.sampler_notes import NOTES
from search.samplers import SAMPLERS
from studies import cli
from studies.commands.examples import EXIT_CODES
from tests.tracked import ledger_of

COMMAND = "import sys; sys.argv[0] = 'mergetuna'; import studies.cli as c; c.main()"


def commands() -> dict[str, Any]:
    """Every command by its whole name."""
    root: Any = typer.main.get_command(cli.app)
    found = {}
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            found[name] = command
        else:
            found |= {f"{name} {own}": one for own, one in inner.items()}
    return found


@pytest.mark.parametrize("name", commands())
def test_the_help_of_every_command_ends_with_examples_of_it(name: str) -> None:
    said = CliRunner().invoke(cli.app, [*name.split(), "--help"], env={"COLUMNS": "200"}).stdout
    _, _, examples = said.partition("Examples:")
    lines = [line.strip() for line in examples.splitlines() if "mergetuna" in line]
    assert lines
    options = {
        o
        for parameter in commands()[name].params
        for o in [*parameter.opts, *parameter.secondary_opts]
    }
    for line in lines:
        own = line[line.index("mergetuna") :].partition("|")[0].partition(">")[0].split()
        assert own[1 : 1 + len(name.split())] == name.split()
        assert {part for part in own if part.startswith("--")} <= options, line


def test_exit_codes_are_in_the_help_and_in_the_docs() -> None:
    said = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "400"}).stdout
    assert EXIT_CODES in said
    docs = (Path(__file__).parents[1] / "docs" / "report.md").read_text()
    assert all(f"| {code} |" in docs for code in (0, 1, 2, 130, 143))


@pytest.mark.parametrize(
    "arguments",
    [("methods",), ("methods", "ties"), ("objectives",), ("samplers",)],
    ids=" ".join,
)
def test_lists_are_json_for_scripts(arguments: tuple[str, ...]) -> None:
    said = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)


def test_every_command_that_lists_or_tells_has_json() -> None:
    told = {n for n, one in commands().items() if any("--json" in p.opts for p in one.params)}
    assert told >= {
        *("trials", "best", "status", "report", "methods", "families", "objectives"),
        *("samplers", "eval", "convert", "align", "merge", "export", "statistics", "baselines"),
        *("validate", "sync"),
    }


def test_the_table_in_the_readme_has_every_command_and_no_option_that_is_not_there() -> None:
    rows = (Path(__file__).parents[1] / "README.md").read_text().splitlines()
    told = {}
    for row in (row for row in rows if row.startswith("| `mergetuna")):
        for text in re.findall(r"`mergetuna ([^`]*)`", row.split(" | ")[0]):
            told[text.split()[0]] = set(re.findall(r"--[a-z-]+", text))
    assert set(told) == {name.split()[0] for name in commands()}
    for name, options in told.items():
        known = [o for n, one in commands().items() if n.split()[0] == name for o in one.params]
        assert options <= {o for one in known for o in [*one.opts, *one.secondary_opts]}, name


def test_commands_are_listed_by_what_they_are_about() -> None:
    said = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "120"}).stdout
    places = [said.index(title) for title in ("Studies", "Models", "Lists")]
    assert places == sorted(places)
    assert "--install-completion" in said


def test_json_of_the_best_names_the_recipe(tmp_path: Path) -> None:
    ledger_of(tmp_path, 1)
    (tmp_path / "recipe.yaml").write_text("merge_method: linear\n")
    winner = {"trial": 3, "digest": "d", "selection": 0.5, "confirm": 0.4, "choices": {}}
    score = {"value": 0.45, "low": 0.4, "high": 0.5}
    results = {"winner": winner, "rows": [{"score": score}]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    told = json.loads(CliRunner().invoke(cli.app, ["best", str(tmp_path), "--json"]).stdout)
    assert told == {"recipe": str(tmp_path / "recipe.yaml"), **winner, "test": score}


def test_every_sampler_is_listed_with_its_use() -> None:
    assert set(NOTES) == set(SAMPLERS)
    said = CliRunner().invoke(cli.app, ["samplers"]).stdout
    assert all(name in said for name in SAMPLERS)


def completed(line: str, shell: str = "bash", code: str = COMMAND) -> str:
    """What the shell is told to offer behind a line."""
    asked = {
        "_MERGETUNA_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_the_commands(shell: str) -> None:
    said = completed("mergetuna st", shell)
    assert "status" in said
    assert "statistics" in said
    assert "merge" not in said.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("methods t", ["task_arithmetic", "ties", "tsv"]),
        ("methods regmean", ["regmean", "regmean++"]),
        ("objectives vl_", ["vl_rewardbench"]),
        ("eval x --split ", ["selection", "confirm", "test"]),
        ("trials x --search g", ["global"]),
        ("merge x --dtype b", ["bfloat16"]),
        ("export x --dtype f", ["float32", "float16"]),
        ("run x --ship ", ["auto", "always", "never"]),
    ],
)
def test_completion_offers_values(line: str, offered: list[str]) -> None:
    assert completed(f"mergetuna {line}").split() == offered


def test_what_completion_offers_is_all_that_there_is_and_needs_nothing_heavy() -> None:
    from merge_ops.loading import DTYPES
    from merge_ops.rewriting import all_methods
    from objectives.preset import all_presets
    from objectives.records import SPLITS
    from studies.commands import completion
    from studies.journal import GLOBAL, SEARCH

    assert completion.method_names() == sorted(op.name for op in all_methods())
    assert completion.preset_names() == [preset.name for preset in all_presets()]
    assert completion.splits() == list(SPLITS)
    assert completion.searches() == [SEARCH, GLOBAL]
    assert set(completion.dtypes()) == set(DTYPES)
    code = f"import sys\ntry:\n exec({COMMAND!r})\nfinally:\n print('torch' in sys.modules)"
    for line in ("methods t", "objectives v"):
        assert completed(f"mergetuna {line}", code=code).splitlines()[-1] == "False"


def test_emoji_codes_in_text_are_text() -> None:
    from studies.console import console

    with console().capture() as taken:
        console().print("(h:m:s)")
    assert taken.get() == "(h:m:s)\n"
