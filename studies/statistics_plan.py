"""What a study collects statistics of, and from: settled before any model runs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merge_ops.errors import UserError
from merge_ops.registry import MergeOp, get_op
from merge_ops.settings_yaml import dump_settings
from merge_ops.statistics_file import Header
from objectives.objective import Objective
from objectives.observation import Observable, spread
from objectives.records import Split
from studies.config import StatisticsConfig
from studies.setup import StudyFile
from studies.statistics_settings import observed_names


@dataclass(frozen=True, slots=True)
class StatisticsPlan:
    """One collection.

    Attributes:
        op: the method that takes the statistics.
        observed: for each expert, the objectives whose examples it reads.
        split: of those examples.
        items: at most so many examples of each objective.
        header: what the file will say of itself; equal headers, equal statistics.
    """

    op: MergeOp
    observed: tuple[tuple[Observable, ...], ...]
    split: Split
    items: int
    header: Header


def make_plan(
    study: StudyFile, objectives: Sequence[Objective], identities: Mapping[str, str]
) -> StatisticsPlan:
    """The collection that a study file asks for.

    Raises:
        UserError: an objective has no gold answers to read.
    """
    settings = study.config.statistics or StatisticsConfig()
    by_name = {objective.name: objective for objective in objectives}
    names = observed_names(study.config, study.labels)
    observed = tuple(tuple(_observable(by_name[name]) for name in own) for own in names)
    op = get_op(study.template.method)
    header = Header(
        kind=op.name,
        models=[identities[source.model] for source in study.template.models],
        collected={
            "objectives": names,
            "split": settings.split,
            "items": settings.items,
            "examples_sha256": _examples_sha256(observed, settings.split, settings.items),
            **_terms(study, op, identities),
        },
    )
    return StatisticsPlan(op, observed, settings.split, settings.items, header)


def _observable(objective: Objective) -> Observable:
    if not isinstance(objective, Observable):
        raise UserError(
            f"statistics.objective: {objective.name} has no gold answers that a model can read; "
            "name another objective."
        )
    return objective


def _examples_sha256(observed: Sequence[Sequence[Observable]], split: Split, items: int) -> str:
    """Sha256 of the texts that every expert reads."""
    texts = [
        [[e.id, e.question, dict(e.texts)] for e in spread(objective.examples(split), items)]
        for own in observed
        for objective in own
    ]
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()


def _terms(study: StudyFile, op: MergeOp, identities: Mapping[str, str]) -> dict[str, Any]:
    """What else the statistics depend on."""
    template = study.template
    head = template.reward_head
    terms: dict[str, Any] = {
        "target": identities[template.kept_from()],
        "reward_head": identities[head] if head else None,
        "exclude": sorted(template.exclude),
        "template": study.config.runtime.template,
        "dtype": study.config.runtime.dtype,
    }
    if template.towers:
        terms["towers"] = {key: identities[owner] for key, owner in template.towers.items()}
    if op.traits.through_merged:  # the layers below are merged by the study's fixed parameters
        plain = json.loads(json.dumps(dump_settings(template.parameters)))
        knobs = {name: knob.default for name, knob in op.knobs.items() if not knob.per_expert}
        terms["merged_with"] = knobs | plain
    return terms
