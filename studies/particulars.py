"""What MLflow is told of a study beside its trials: params, data sets, models, recipes."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

if TYPE_CHECKING:  # torch takes seconds, and the mirror needs none of it
    from search.space import SearchSpace
    from studies.setup import StudyFile


@dataclass(frozen=True, slots=True)
class DataSet:
    """The examples of one objective in one split.

    Attributes:
        objective: its name.
        split: selection, confirm or test.
        source: where the examples come from, as the study file or the preset says.
        sha256: of the examples' ids, as in `lineage.json`.
        items: how many.
    """

    objective: str
    split: str
    source: str
    sha256: str
    items: int


@dataclass(frozen=True, slots=True)
class InputModel:
    """A model that a study reads.

    Attributes:
        role: target, base, reward head, or the expert's name.
        reference: a folder or hub id.
        sha256: of its files; empty where nobody computed it.
    """

    role: str
    reference: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Particulars:
    """All of it.

    Attributes:
        params: of the run `summary`.
        data: the data sets, by objective and split.
        models: the models.
        recipe_of: the text of a trial's recipe; None where the space is not known. It is sent to
            the tracker's process, and so can be pickled.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    data: Sequence[DataSet] = ()
    models: Sequence[InputModel] = ()
    recipe_of: Callable[[FrozenTrial], str] | None = None


def particulars(
    study: "StudyFile", space: "SearchSpace", identities: Mapping[str, str]
) -> Particulars:
    """Those of a study whose splits have been made.

    Args:
        study: the checked file.
        space: of its own search.
        identities: sha256 of the models, by reference; those that are not there stay unknown.
    """
    return Particulars(
        params=study_params(study.config.model_dump(mode="json")),
        data=tuple(_data(study)),
        models=tuple(_models(study, identities)),
        recipe_of=RecipeText(study.config.name, space, study.out),
    )


@dataclass(frozen=True, slots=True)
class RecipeText:
    """From a trial to its recipe's text, as a file in the study's folder would hold it.

    Attributes:
        name: the study's.
        space: of its own search.
        out: the study's folder.
    """

    name: str
    space: "SearchSpace"
    out: Path

    def __call__(self, trial: FrozenTrial) -> str:
        """The text."""
        from merge_ops.recipe_text import recipe_text

        recipe = self.space.decode(trial.params)
        digest = trial.user_attrs.get("digest")
        told = {"study": self.name, "trial": trial.number, "digest": digest}
        return recipe_text(replace(recipe, provenance={**recipe.provenance, **told}), self.out)


def study_params(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a study was asked to do, from its settings as `settings.json` holds them."""
    objectives = settings.get("objectives") or ()
    experts = settings.get("experts") or ()
    budget = {f"budget.{k}": v for k, v in (settings.get("budget") or {}).items()}
    search = settings.get("search") or {}
    found = {
        **{key: settings.get(key) for key in ("sampler", "method", "seed", "confirm_top")},
        **{key: settings.get(key) for key in ("compare", "target", "base", "reward_head")},
        "experts": ", ".join(str(e.get("name") or e.get("model")) for e in experts),
        "objectives": ", ".join(str(objective.get("name")) for objective in objectives),
        "racing": (settings.get("racing") or {}).get("rule"),
        "search.knobs": ", ".join(search.get("knobs") or ()),
        "search.choices": ", ".join(search.get("choices") or ()),
        "search.bands": search.get("bands"),
        "search.curve": search.get("curve"),
        **budget,
    }
    return {key: str(value)[:5000] for key, value in found.items() if value not in (None, "")}


def _data(study: "StudyFile") -> list[DataSet]:
    """From `splits.json`; empty where there is none that can be read."""
    from studies.data_settings import origins
    from studies.paths import SPLIT_FILE

    try:
        record = json.loads((study.out / SPLIT_FILE).read_text(encoding="utf-8"))["objectives"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    found = []
    for objective in study.config.objectives:
        known = origins(objective)
        for split, ids in record.get(objective.name, {}).items():
            origin = known.get(split) or known.get("")
            source = "" if origin is None else _located(origin.source, study.folder)
            digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
            found.append(DataSet(objective.name, split, source, digest, len(ids)))
    return found


def _located(source: str, folder: Path) -> str:
    """A local source, `PATH` or `PATH:SPLIT`, with its whole path; one of the hub as it is."""
    place = source.partition(":")[0]
    return f"{folder.resolve() / source}" if place and (folder / place).exists() else source


def _models(study: "StudyFile", identities: Mapping[str, str]) -> list[InputModel]:
    template = study.template
    pairs = zip(study.labels, template.models, strict=True)
    roles = {
        "target": template.kept_from(),
        "base": template.base_model,
        "reward head": template.reward_head,
        **{f"expert {label}": source.model for label, source in pairs},
        **{f"tower {key}": owner for key, owner in template.towers.items()},
    }
    return [
        InputModel(role, reference, identities.get(reference, ""))
        for role, reference in roles.items()
        if reference is not None
    ]
