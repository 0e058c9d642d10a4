"""`mergetuna export`: one folder with checkpoint, recipe, report, lineage; the hub when asked."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from typer.testing import CliRunner

from merge_ops.errors import UserError
from merge_ops.hub import weights_sha256
from studies import cli
from studies.export import build_checkpoint
from studies.release import push, release
from studies.run import run_study
from studies.setup import read_study


@pytest.fixture(scope="module")
def ended(small_study: Callable[..., Path]) -> Path:
    study = read_study(small_study("reasoning", out="released", trials=3, compare=False))
    run_study(study)
    return study.out


@pytest.fixture(scope="module")
def folder(ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("release") / "out"
    release(ended, out)
    return out


def test_the_folder_is_the_checkpoint_that_merge_writes(
    ended: Path, folder: Path, tmp_path: Path
) -> None:
    build_checkpoint(ended / "recipe.yaml", tmp_path / "merged")
    for name in ("model.safetensors", "config.json"):
        assert (folder / name).read_bytes() == (tmp_path / "merged" / name).read_bytes()
    assert "mergetuna" in (folder / "README.md").read_text()
    assert "<html" in (folder / "report.html").read_text()
    assert list((folder / "figures" / "report").glob("*.png"))


def test_lineage_names_models_data_and_trials_by_their_sums(ended: Path, folder: Path) -> None:
    told = json.loads((folder / "lineage.json").read_text())
    results = json.loads((ended / "results.json").read_text())
    assert told["digest"] == results["winner"]["digest"]
    assert told["trials"] == {"search": 3, "global": 0}
    assert told["test_reads"] == results["test_reads"]
    models = {model["model"]: model for model in told["models"]}
    assert set(models) == {"vlm", "base", "math"}
    root = ended.parent / "models"
    for name, model in models.items():
        assert model["sha256"] == weights_sha256(str((root / name).resolve()))
    ids = json.loads((ended / "splits.json").read_text())["objectives"]
    for name, splits in ids.items():
        for split, own in splits.items():
            said = told["data"]["objectives"][name][split]
            assert said["n"] == len(own)
            assert said["ids_sha256"] == hashlib.sha256(json.dumps(own).encode()).hexdigest()
    sums = told["files_sha256"]
    assert set(sums) == {"recipe.yaml", "results.json", "splits.json", "ledger.journal"}
    for name, value in sums.items():
        assert value == hashlib.sha256((ended / name).read_bytes()).hexdigest()


def test_a_failure_leaves_nothing_and_what_was_there_stays(
    ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise UserError("the disk is full")

    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(UserError, match="--overwrite"):
        release(ended, out)
    monkeypatch.setattr("studies.release.write_report", broken)
    with pytest.raises(UserError, match="the disk is full"):
        release(ended, out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "precious").read_text() == "x"


def test_a_model_is_never_replaced(ended: Path) -> None:
    model = ended.parent / "models" / "vlm"
    with pytest.raises(UserError, match="is a model of this recipe"):
        release(ended, model, overwrite=True)
    assert (model / "model.safetensors").is_file()


def test_a_study_that_has_not_ended_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no recipe\.yaml"):
        release(tmp_path, tmp_path / "out")


class Hub:
    """Stands for the hub's client: takes calls, or raises."""

    calls: ClassVar[list[tuple[str, dict[str, Any]]]]
    error: Exception | None = None

    def create_repo(self, name: str, **options: Any) -> None:
        type(self).calls.append((name, options))
        if self.error is not None:
            raise self.error

    def upload_folder(self, **options: Any) -> None:
        type(self).calls.append(("upload", options))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    class Own(Hub):
        calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    monkeypatch.setattr(huggingface_hub, "HfApi", Own)
    return Own


def test_a_push_uploads_the_folder_to_a_private_repository(
    hub: type[Hub], ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "t")
    out = str(tmp_path / "out")
    said = CliRunner().invoke(
        cli.app, ["export", str(ended), "--out", out, "--push", "owner/name"]
    )
    assert said.exit_code == 0, said.output
    (created, how), (_, upload) = hub.calls
    assert (created, how["private"], how["exist_ok"]) == ("owner/name", True, True)
    assert (upload["repo_id"], str(upload["folder_path"])) == ("owner/name", out)
    assert "https://huggingface.co/owner/name" in said.output


def test_nothing_is_uploaded_unless_asked_for(hub: type[Hub], ended: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(cli.app, ["export", str(ended), "--out", str(tmp_path / "out")])
    assert said.exit_code == 0, said.output
    assert hub.calls == []


def refused(status: int, text: str) -> HfHubHTTPError:
    error = HfHubHTTPError.__new__(HfHubHTTPError)
    Exception.__init__(error, text)
    error.response = type("Response", (), {"status_code": status})()
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LocalTokenNotFoundError("no token\nat all"), "run `hf auth login`"),
        (refused(403, "403 Forbidden\nmore"), r"refused \(403 Forbidden\).*may not write"),
        (refused(500, "500 Server Error"), r"refused \(500 Server Error\)\. "),
        (OSError("no route to host"), "not uploaded: no route to host"),
    ],
)
def test_the_hubs_errors_are_one_line_and_the_folder_is_kept(
    hub: type[Hub], tmp_path: Path, error: Exception, expected: str
) -> None:
    hub.error = error
    with pytest.raises(UserError, match=expected) as caught:
        push(tmp_path, "owner/name")
    assert "\n" not in str(caught.value)
    assert "is kept" in str(caught.value)


def test_a_push_that_cannot_be_is_refused_before_any_work(
    ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    options = ["export", str(ended), "--out", str(tmp_path / "out"), "--push"]
    for name, expected in {"owner": "like owner/name", "owner/name": "needs a token"}.items():
        said = CliRunner().invoke(cli.app, [*options, name])
        assert expected in str(said.exception)
    assert not list(tmp_path.iterdir())
