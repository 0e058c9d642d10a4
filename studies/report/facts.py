"""All that a report is made of, read from a study's folder alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from studies.paths import RECIPE, RESULTS
from studies.status import Status, read_status


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report is made of.

    Attributes:
        status: how the study stands.
        results: of `results.json`; None while the study has not ended.
        provenance: of `recipe.yaml`; empty while it has not ended.
        folder: the study's.
    """

    status: Status
    results: Mapping[str, Any] | None
    provenance: Mapping[str, Any]
    folder: Path

    @property
    def title(self) -> str:
        """The study's name."""
        known = self.status.about.get("study") or (self.results or {}).get("study")
        return str(known or self.folder.resolve().name)

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """The finished trials of the study's own search."""
        return self.status.trials

    @property
    def owners(self) -> Sequence[str]:
        """Names of the experts, if they are known."""
        return list(self.status.about.get("experts", []))


def read_facts(folder: Path) -> Facts:
    """Read them; nothing is written.

    Raises:
        UserError: the folder is no study's, or a file in it cannot be read.
    """
    status = read_status(folder)
    return Facts(status, _results(folder / RESULTS), _provenance(folder / RECIPE), folder)


def _results(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: it must be JSON, but: {error}.") from None
    return content if isinstance(content, dict) else None


def _provenance(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.is_file():
        return {}
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        found = content["mergetuna"]["provenance"]
    except (YAMLError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
