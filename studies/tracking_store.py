"""MLflow stores: the local one of a runs folder, and how any is opened without noise."""

import json
import logging
import os
import warnings
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from studies.metric_names import MAIN

STORE, ARTIFACTS = "mlflow.db", "mlartifacts"
"""Names in a runs folder: its local store, and the files that the store's runs keep."""
LEDGER, KIND = "ledger", "kind"
"""Tags by which runs of one ledger, and of one kind, are found."""
TRIAL, SUMMARY = "trial", "summary"
"""Kinds of runs."""
_VIEW = "study"
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; MLflow's own default is 120, seven times over
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the mirror tries again by itself
}


def import_quietly() -> Any:
    """MLflow, told to keep quiet; importing it takes seconds."""
    for key, value in _SETTINGS.items():
        os.environ.setdefault(key, value)
    warnings.filterwarnings("ignore", module=r"(mlflow|alembic|sqlalchemy)(\.|$)")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def open_client(uri: str) -> Any:
    """An MLflow client that keeps quiet."""
    mlflow = import_quietly()
    if (store := local_store(uri)) is not None:
        store.parent.mkdir(parents=True, exist_ok=True)
    return mlflow.MlflowClient(tracking_uri=uri)


def local_store(uri: str) -> Path | None:
    """The file of an SQLite store, or None for any other address."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)).absolute() if uri.startswith(prefix) else None


def ledger_tag(trials: Iterable[FrozenTrial]) -> str | None:
    """What tells a ledger from all others: when its first trial ended; None before that."""
    return next((ended(t).isoformat() for t in trials if t.state.is_finished()), None)


def study_page(uri: str, ledger: str) -> str | None:
    """The route of a ledger's runs in MLflow's pages; None if the store has no such runs.

    A view is kept with the experiment that shows these runs alone, the best first, and their
    main figures as columns: MLflow's own list shows no figure at all.
    """
    client = open_client(uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    own = f"tags.{LEDGER} = '{ledger}'"
    trials = f"{own} and tags.{KIND} = '{TRIAL}'"
    best = client.search_runs(ids, trials, order_by=["metrics.score DESC"], max_results=1)
    if not best:
        return None
    shown = [key for key in sorted(best[0].data.metrics) if key.partition(".")[0] in MAIN]
    tags = [f"tags.`{tag}`" for tag in ("guards", "source") if tag in best[0].data.tags]
    view = {
        "searchFilter": own,
        "orderByKey": "metrics.`score`",
        "orderByAsc": False,
        "selectedColumns": [f"metrics.`{key}`" for key in shown] + tags,
    }
    experiment = best[0].info.experiment_id
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{_VIEW}", json.dumps(view))
    return (
        f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={_VIEW}"
    )


def open_experiment(client: Any, uri: str, name: str) -> str:
    """The id of an experiment, which is created if there is none."""
    known = client.get_experiment_by_name(name)
    if known is None:
        store = local_store(uri)
        files = None if store is None else (store.parent / ARTIFACTS).as_uri()
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(name, artifact_location=files, tags=kind))
    if known.lifecycle_stage == "deleted":  # by hand, in the UI; a name cannot be taken again
        client.restore_experiment(known.experiment_id)
    return str(known.experiment_id)


def ended(trial: FrozenTrial) -> datetime:
    """When a finished trial ended."""
    assert trial.datetime_complete is not None, f"trial {trial.number} is not finished"
    return trial.datetime_complete
