"""Mergekit's mapping form of a model, put into the text that stands for it here."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator


def reference_text(value: Any) -> Any:
    """`{model: {path, revision}, lora: {path, revision}}` as `path@revision+path@revision`.

    Anything else is given back as it is.

    Raises:
        ValueError: a key that has no such text; the message says what to write.
    """
    if not isinstance(value, Mapping):
        return value
    if value.get("override_architecture") is not None:
        raise ValueError("override_architecture is not supported; config.json names the class")
    _check(value, ("model", "lora", "override_architecture"), "model, with lora if there is one")
    lora = value.get("lora")
    own = _path_text(value["model"])
    return own if lora is None else f"{own}+{_path_text(lora)}"


def _path_text(value: Any) -> str:
    """`{path, revision}`, or what stands in its place, as `path@revision`."""
    if isinstance(value, str):
        return value
    _check(value, ("path", "revision"), "path, with revision if it is of the hub")
    path, revision = value["path"], value.get("revision")
    if not isinstance(path, str) or not isinstance(revision, str | None):
        raise ValueError(  # noqa: TRY004 (pydantic wants one)
            f"path and revision must be text, but are {path!r} and {revision!r}"
        )
    return path if revision is None else f"{path}@{revision}"


def _check(value: Any, keys: tuple[str, ...], needed: str) -> None:
    """Whether it is a mapping of these keys, the first of them present."""
    if isinstance(value, Mapping) and keys[0] in value and set(value) <= set(keys):
        return
    found = ", ".join(map(str, value)) if isinstance(value, Mapping) else repr(value)
    raise ValueError(
        f"must be `path` or `path@revision+adapter@revision`, or a mapping of {needed}, but has "
        f"{found:.80}"
    )


Reference = Annotated[str, BeforeValidator(reference_text)]
"""A model as mergekit's files name it."""
