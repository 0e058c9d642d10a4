"""What of a study file changed since its folder was begun, key by key."""

import json
from collections.abc import Iterator
from typing import Any

from merge_ops.atomic import write_text
from merge_ops.errors import UserError
from merge_ops.yaml_file import Location
from studies.provenance import FREE
from studies.setup import StudyFile

SETTINGS = "settings.json"

Flat = dict[Location, Any]


def check_changes(study: StudyFile, *, accept: bool) -> None:
    """Refuse a file that is not the one with which the study's folder was begun.

    Args:
        study: as it stands in its file.
        accept: take changes of keys that alter no trial.

    Raises:
        UserError: one line for each key that differs, with its place in the file.
    """
    path = study.out / SETTINGS
    if not path.is_file():
        return
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path}: it cannot be read: {error}; delete it, and the ledger alone tells whether "
            "the study is the same."
        ) from None
    differ = list(_differences(kept, _content(study)))
    grave = [place for place, _ in differ if not _is_free(place)]
    if not differ or (accept and not grave):
        return
    problems = [
        (place, text if _is_free(place) else f"{text}; this changes {_what(place)}")
        for place, text in differ
    ]
    advice = (
        f"{study.out}: trials of two studies cannot be mixed. Undo the changes, or choose another "
        "`out` folder."
        if grave
        else f"{study.out}: no trial is altered by that: --accept-changes goes on with the new "
        "values."
    )
    raise UserError(f"{study.file.error(problems)}\n{advice}")


def _is_free(place: Location) -> bool:
    dotted = ".".join(map(str, place))
    return any(dotted == key or dotted.startswith(f"{key}.") for key in FREE)


def _what(place: Location) -> str:
    return "where trials are" if place == ("storage",) else "what trials are"


def keep_settings(study: StudyFile) -> None:
    """Write down with which settings the study goes on."""
    text = json.dumps(_content(study), indent=1) + "\n"
    path = study.out / SETTINGS
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _content(study: StudyFile) -> Any:
    return json.loads(json.dumps(study.config.model_dump(mode="json")))


def _differences(before: Any, now: Any) -> Iterator[tuple[Location, str]]:
    old, new = dict(_flat(before)), dict(_flat(now))
    for place in sorted(old.keys() | new.keys(), key=str):
        if old.get(place) != new.get(place):  # a key that an older version did not know is null
            was, is_now = _shown(old, place), _shown(new, place)
            yield place, f"{'.'.join(map(str, place))}: was {was}, is now {is_now}"


def _shown(values: Flat, place: Location) -> str:
    return json.dumps(values[place])[:80] if place in values else "not there"


def _flat(node: Any, place: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Every value that is no mapping and no list of mappings, with its place."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _flat(value, (*place, key))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for i, item in enumerate(node):
            yield from _flat(item, (*place, i))
    else:
        yield place, node
