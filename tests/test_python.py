"""Studies from Python: the page in docs runs as it stands; importing is light."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from studies import Study, cli

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
MakeStudy = Callable[..., Path]


def test_the_page_runs_as_it_stands(
    small_study: MakeStudy,
    demo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = small_study("preference", out="from-python", trials=4)
    demo = tmp_path / "runs" / "demo"
    demo.mkdir(parents=True)
    for name in ("models", "data"):
        shutil.copytree(demo_folder / name, demo / name)
    shutil.copy(path, demo / "preference.yaml")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "page.py").write_text("\n".join(blocks))
    runpy.run_path(str(tmp_path / "page.py"))
    study = Study("runs/demo/preference.yaml")
    assert study.status().state == "finished"
    printed = CliRunner().invoke(cli.app, ["trials", str(study.folder), "--json"]).stdout
    assert json.loads(printed) == json.loads(json.dumps(study.trials()))
    printed = CliRunner().invoke(cli.app, ["best", str(study.folder), "--json"]).stdout
    assert json.loads(printed) == study.best()
    table = study.dataframe()
    assert len(table) == 4
    assert {"number", "value", "state", "datetime_complete"} <= set(table.columns)
    assert any(column.startswith("params_weight") for column in table.columns)
    assert (tmp_path / "release" / "lineage.json").is_file()
    assert "from-python" in capsys.readouterr().err
    assert not Study("runs/demo/average.yaml").folder.exists()


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys; from studies import Study; "
        "print([m for m in ('torch', 'pydantic', 'optuna', 'pandas') if m in sys.modules])"
    )
    root = str(PAGE.parents[1])
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert said.stdout.strip() == "[]", said.stderr


def test_a_study_file_is_never_replaced_by_accident(
    small_study: MakeStudy, demo_folder: Path
) -> None:
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load(small_study("preference", out="as-dict").read_text())
    path = demo_folder / "written.yaml"
    first = Study.from_dict(content, path)
    text = path.read_text()
    assert Study.from_dict(content, path).path == first.path
    with pytest.raises(UserError, match="overwrite=True"):
        Study.from_dict({**content, "seed": 7}, path)
    assert path.read_text() == text
    with pytest.raises(UserError, match="there is no merge method 'nothing'"):
        Study.from_dict({**content, "method": "nothing"}, path, overwrite=True)
    assert path.read_text() == text
    Study.from_dict({**content, "seed": 7}, path, overwrite=True)
    assert "seed: 7" in path.read_text()
    with pytest.raises(UserError, match="a study is made of mappings"):
        Study.from_dict({**content, "seed": object()}, demo_folder / "other.yaml")
    with pytest.raises(UserError, match="there is no merge method"):
        Study.from_dict({**content, "method": "nothing"}, demo_folder / "other.yaml")
    assert not (demo_folder / "other.yaml").exists()
    with pytest.raises(UserError, match="there is no such folder"):
        first.best()


def test_stopping_is_an_interrupt(small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    from studies import run
    from studies.interruption import Stopped

    def stopped(*_: object, **__: object) -> None:
        raise Stopped(2)

    monkeypatch.setattr(run, "run_study", stopped)
    with pytest.raises(KeyboardInterrupt):
        Study(small_study("preference", out="interrupted")).run()
