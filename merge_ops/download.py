"""From a hub id to a folder in the hub's cache; what can go wrong is said in one line."""

import errno
import re
from functools import cache
from pathlib import Path

from merge_ops.errors import UserError

_NEEDED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md"]
_TELLING = ["non_lora_trainables.bin"]
"""Never read, but an adapter beside it is not whole."""
_PICKLES = [
    "pytorch_model*.bin*",
    "adapter_model.bin",
    "non_lora_trainables.bin",
    "mm_projector.bin",
]
_SUPERFLUOUS = ["*/*", "consolidated*.safetensors", "*.fp16.safetensors"]
"""Other formats of the same weights, and folders: none of them is read."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN"
_SENTENCES = {
    "GatedRepoError": (
        "the hub keeps it behind a gate. Ask for access at https://huggingface.co/{name} and log "
        "in with `hf auth login`, or set HF_TOKEN, as the account that has it."
    ),
    "RevisionNotFoundError": (
        "the repository has no revision {revision!r}. Check branch, tag or commit."
    ),
    "RepositoryNotFoundError": (
        "there is no such folder here, and no such repository on the hub, or it is private. "
        f"Check the name. {_LOG_IN} if it is private."
    ),
    "IncompleteSnapshotError": (
        "the hub is out of reach and its copy here is incomplete. Run again with a network."
    ),
}
"""By class in huggingface_hub.errors, the special ones first; older versions lack the last."""


@cache
def download(reference: str) -> Path:
    """The folder of a hub id in the hub's cache, with the files that a model needs.

    Pickles are not among them. A token is taken from where huggingface_hub looks: HF_TOKEN, or
    `hf auth login`.

    Args:
        reference: `owner/name` or `owner/name@revision`.

    Raises:
        UserError: the hub did not give it; says why and what to do.
    """
    return _snapshot(reference, [*_NEEDED, *_TELLING])


def source_folder(reference: str, *, allow_pickle: bool) -> Path:
    """A folder in any layout: a local one, or a hub id's; pickles only if there is nothing else.

    Args:
        reference: a folder, `owner/name` or `owner/name@revision`.
        allow_pickle: download pickles if the repository has no safetensors.

    Raises:
        UserError: the hub did not give it, or there is no such folder.
    """
    if Path(reference).is_dir():
        return Path(reference)
    folder = download(reference)
    if allow_pickle and not any(folder.glob("*.safetensors")):
        return _snapshot(reference, [*_NEEDED, *_PICKLES])
    return folder


def commit(reference: str) -> str | None:
    """The commit that a hub id resolved to; None for a local folder that is in no hub cache."""
    folder = Path(reference)
    if not folder.is_dir():
        folder = download(reference)
    found = folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name)
    return folder.name if found else None


def _snapshot(reference: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    transport: type[Exception] = HfHubHTTPError.__bases__[
        0
    ]  # of the hub's HTTP library: a proxy, a broken pipe

    name, _, revision = reference.partition("@")
    try:
        path = snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=patterns,
            ignore_patterns=_SUPERFLUOUS,
        )
    except HFValidationError:
        raise UserError(
            f"{reference}: there is no such folder here, and it is no hub id (owner/name or "
            "owner/name@revision). Check the path."
        ) from None
    except (OSError, ValueError, OfflineModeIsEnabled, transport) as error:
        raise UserError(f"{reference}: {_said(error, name, revision)}") from None
    return Path(path)


def _said(error: Exception, name: str, revision: str) -> str:
    """What went wrong, and what to do."""
    from huggingface_hub import errors

    for kind, sentence in _SENTENCES.items():
        if isinstance(error, getattr(errors, kind, ())):
            return sentence.format(name=name, revision=revision)
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return _not_here(error)
    if isinstance(error, errors.HfHubHTTPError):
        return _status(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        from huggingface_hub.constants import HF_HUB_CACHE

        return (
            f"the disk of the hub's cache ({HF_HUB_CACHE}) is full. Free some of it, or set "
            "HF_HOME to a folder on another disk."
        )
    if isinstance(error, OSError | ValueError):
        return f"the hub did not give it ({_line(error)}). Try again, or pass a local folder."
    return f"the hub is out of reach ({_line(error)}). Check network and proxy."


def _not_here(error: Exception) -> str:
    """Nothing in the cache, and the hub cannot be asked."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    cause = error.__cause__
    if isinstance(cause, HfHubHTTPError):
        return _status(cause)
    offline = isinstance(error, OfflineModeIsEnabled) or isinstance(cause, OfflineModeIsEnabled)
    why = "HF_HUB_OFFLINE is set" if offline else "the hub is out of reach"
    do = "Unset it" if offline else "Check the network"
    return (
        f"there is no such folder here, nothing of it in the hub's cache ({HF_HUB_CACHE}), and "
        f"{why}. {do}, or pass a local folder."
    )


def _status(error: Exception) -> str:
    """What the hub's answer means."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return (
            f"the hub does not know your token (401): it is wrong or has expired. {_LOG_IN} anew."
        )
    if status == 403:
        return "your token may not read it (403). Give the token read access on the hub's site."
    if status == 429:
        return f"the hub takes no more requests for now (429). Wait a little. {_LOG_IN} for more."
    if status is not None and status >= 500:
        return f"the hub has a problem of its own ({status}). Try again later."
    return f"the hub refused ({_line(error)}). Check the name and try again."


def _line(error: Exception) -> str:
    """An error's first line."""
    return (str(error).strip().splitlines() or [repr(error)])[0]
