"""Data sets and models of a study as inputs of a run of MLflow."""

import json
import re
from typing import Any

from studies.particulars import DataSet, InputModel, Particulars
from studies.tracking_runs import Runs

_SHA = "sha256"
_DIGEST = 36  # characters that MLflow keeps of a data set's


def log_inputs(runs: Runs, run: str, told: Particulars) -> None:
    """Give a run its inputs; models stand once in an experiment, by name and sum of their files.

    A server of MLflow 2 knows no models of an experiment: they stand among the data sets then.
    """
    from mlflow.entities import LoggedModelInput
    from mlflow.exceptions import MlflowException

    try:
        models = [LoggedModelInput(_model(runs, model)) for model in told.models]
        spare: list[Any] = []
    except MlflowException as error:
        if error.error_code not in ("ENDPOINT_NOT_FOUND", "NOT_FOUND", "NOT_IMPLEMENTED"):
            raise
        models, spare = [], [_as_data(model) for model in told.models]
    data = [_data_set(one) for one in told.data]
    if models or data or spare:
        runs.client.log_inputs(run, datasets=[*data, *spare], models=models)


def _data_set(data: DataSet) -> Any:
    profile = json.dumps({"items": data.items})
    return _dataset(data.objective, data.sha256, data.source, profile, data.split)


def _as_data(model: InputModel) -> Any:
    return _dataset(model.role, model.sha256, model.reference, "{}", "model")


def _dataset(name: str, sha256: str, source: str, profile: str, context: str) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    known = Dataset(
        name=name[:500],
        digest=sha256[:_DIGEST] or "unknown",
        source_type="local" if source.startswith("/") else "hub",
        source=json.dumps({"uri": source}),
        profile=profile,
    )
    return DatasetInput(known, [InputTag("mlflow.data.context", context)])


def _model(runs: Runs, model: InputModel) -> str:
    """The id of an experiment's model, which is created if there is none."""
    name = re.sub(r"[/:.%\"']", "-", model.role)[:200]
    tags = {"role": model.role, "source": model.reference[:5000], _SHA: model.sha256}
    text = f"name = '{name}' AND tags.{_SHA} = '{model.sha256}'"
    known = runs.client.search_logged_models([runs.experiment], text, max_results=1)
    if known:
        return str(known[0].model_id)
    created = runs.client.create_logged_model(runs.experiment, name=name, tags=tags)
    runs.client.finalize_logged_model(created.model_id, "READY")
    return str(created.model_id)
