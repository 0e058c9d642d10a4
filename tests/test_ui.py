"""`mergetuna ui` where there is nothing to show: one sentence, no server."""

import socket
from pathlib import Path

import pytest

from merge_ops.errors import UserError
from studies.commands.ui import ui
from tests.tracked import Store, ledger_of, mirrored


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ledger\.journal"):
        ui(tmp_path, 0, open_browser=False)


def test_a_study_without_trials_is_refused(tmp_path: Path) -> None:
    ledger_of(tmp_path / "empty", 0)
    with pytest.raises(UserError, match="no finished trial"):
        ui(tmp_path / "empty", 0, open_browser=False)


def test_a_study_tracked_elsewhere_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_of(tmp_path / "away", 1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"holds none of the trials.*`tracking\.uri`"):
        ui(tmp_path / "away", 0, open_browser=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@far:1")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is http://far:1;"):
        ui(tmp_path / "away", 0, open_browser=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    mirrored(ledger_of(tmp_path / "here", 1), Store(tmp_path).uri, "here")
    with pytest.raises(UserError, match="holds none of the trials"):
        ui(tmp_path / "away", 0, open_browser=False)


def test_a_store_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    ledger_of(tmp_path / "study", 1)
    (tmp_path / "mlflow.db").write_text("no database at all, but long enough to be read as one")
    with pytest.raises(UserError, match=r"mlflow\.db: MLflow cannot read it"):
        ui(tmp_path / "study", 0, open_browser=False)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} of 127\.0\.0\.1 cannot be used"):
            ui(tmp_path, port, open_browser=False)
