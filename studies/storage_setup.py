"""From a study file to the storage that shall hold its ledger."""

from studies.place import Address, absolute
from studies.setup import StudyFile
from studies.tracking_address import tracking_uri


def address_of(study: StudyFile) -> Address | None:
    """Where the study file wants its trials; None for the folder.

    Raises:
        UserError: MLflow keeps its runs there.
    """
    if study.config.storage is None:
        return None
    url = absolute(study.config.storage, study.folder)
    tracking = study.config.tracking
    if tracking.enabled and url == tracking_uri(tracking.uri, study.out.absolute().parent):
        text = (
            "storage: must not be the database of MLflow, because Optuna and MLflow both keep the "
            f"version of their tables in the same table of it, but is {study.config.storage}"
        )
        raise study.file.error([(("storage",), text)])
    return Address(url, study.config.name)
