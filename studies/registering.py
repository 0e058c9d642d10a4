"""An exported checkpoint in MLflow's registry, so that MLflow or plain transformers loads it."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from studies.journal import read_trials
from studies.secrets import reason_of, without_secrets
from studies.sync import sync
from studies.tracked_folder import store_of, study_name
from studies.tracking_runs import Runs
from studies.tracking_store import SUMMARY, ledger_tag

WEIGHTS = "model"
"""Folder of the checkpoint among a registered model's files; the name is MLflow's."""
_COMPONENTS = {
    "tokenizer": "AutoTokenizer",
    "processor": "AutoProcessor",
}
_FILES = ("tokenizer*", "*token*.json", "vocab*", "merges.txt", "*processor*", "chat_template*")


def check_name(name: str) -> str:
    """The name of a registered model.

    Raises:
        UserError: MLflow does not take it.
    """
    if not name.strip() or any(mark in name for mark in "/:") or name in (".", ".."):
        raise UserError(f"--register must be a name without '/' and ':', but got {name!r}.")
    return name


def bring_up_to_date(folder: Path) -> None:
    """Mirror what the study's store lacks of it: a store that refuses is told before any work.

    Raises:
        UserError: the study has not ended, or the store does not take it.
    """
    if not sync(folder).summary:
        raise UserError(f"{folder}: only a study that has ended can be registered.")


def store_shown(folder: Path) -> str:
    """The store's address, without a password."""
    return without_secrets(store_of(folder))


def register(folder: Path, out: Path, name: str) -> str:
    """Log an exported folder with the run `summary` and make it a version of a registered model.

    Args:
        folder: the study's, which is mirrored.
        out: as `studies.release.release` wrote it.
        name: of the registered model, which is created if there is none.

    Returns:
        The address of the version, such as "models:/NAME/1".

    Raises:
        UserError: the store does not take it; the folder is kept.
    """
    from mlflow.entities import LoggedModelOutput

    ledger = ledger_tag(read_trials(folder))
    assert ledger is not None, "see `bring_up_to_date`"
    uri = store_of(folder)
    with _one_line(uri, out):
        runs = Runs(uri, study_name(folder), ledger, {})
        client, run = runs.client, runs.find(SUMMARY)[0].info.run_id
        created = client.create_logged_model(
            runs.experiment,
            name=re.sub(r"[.%\"']", "-", name),
            source_run_id=run,
            tags={"study": study_name(folder)},
            model_type="merge",
        )
        own = created.model_id
        with tempfile.TemporaryDirectory() as scratch:
            _describe(out, Path(scratch))
            client.log_model_artifacts(own, scratch)
        client.log_model_artifacts(own, str(out), WEIGHTS)
        client.finalize_logged_model(own, "READY")
        if not client.search_registered_models(f"name = '{name}'", max_results=1):
            client.create_registered_model(name)
        version = client.create_model_version(
            name, created.artifact_location, run_id=run, model_id=own
        )
        client.log_outputs(run, [LoggedModelOutput(own, step=0)])
    return f"models:/{name}/{version.version}"


def _describe(out: Path, folder: Path) -> None:
    """Write what MLflow's flavor `transformers` wants beside the checkpoint.

    MLflow's own writer needs torchvision for pipelines of pictures, and copies the weights.
    """
    import transformers
    from mlflow.models import Model

    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    parts = _parts(out)
    for part in parts:
        (folder / "components" / part).mkdir(parents=True)
        for pattern in ("config.json", *_FILES):
            for path in out.glob(pattern):
                shutil.copy(path, folder / "components" / part / path.name)
    described = Model()
    types = {f"{part}_type": _COMPONENTS[part] for part in parts}
    described.add_flavor(
        "transformers",
        transformers_version=transformers.__version__,
        code=None,
        task="any-to-any",
        instance_type="AnyToAnyPipeline",
        pipeline_model_type=config["architectures"][0],
        source_model_name=out.name,
        model_binary=WEIGHTS,
        components=[part for part in parts if part != "processor"],
        **types,
    )
    described.save(str(folder / "MLmodel"))
    (folder / "requirements.txt").write_text(
        f"transformers=={transformers.__version__}\ntorch\n", encoding="utf-8"
    )


def _parts(out: Path) -> list[str]:
    """The tokenizer, and the processor where it can be loaded here (some need torchvision)."""
    import transformers

    found = []
    for part, kind in _COMPONENTS.items():
        loader: Any = getattr(transformers, kind)
        try:
            loader.from_pretrained(str(out), trust_remote_code=False)
        except Exception:
            continue
        found.append(part)
    return found


@contextmanager
def _one_line(uri: str, out: Path) -> Iterator[None]:
    """Errors of MLflow and its stores as one line."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{without_secrets(uri)}: the model could not be registered: {reason_of(error)}. "
            f"{out} is kept."
        ) from None
