"""What a study's models are to each other, and where they will lie: from headers alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from merge_ops.alignment import align
from merge_ops.decoder import layer_map
from merge_ops.loading import load_score_head
from merge_ops.opening import Opened, open_models
from merge_ops.placement import place_model, plan_devices
from merge_ops.plan import Plan
from merge_ops.runtime import Runtime
from studies.setup import StudyFile


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What was found.

    Attributes:
        lines: how each model pairs with the target, in words.
        warnings: what configs differ in, and notes on files and adapters.
        layers: number of text layers.
        merged: canonical names of the tensors that candidates write.
        memory: the plan of each device.
    """

    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    layers: int
    merged: tuple[str, ...]
    memory: tuple[Plan, ...]


def check_models(study: StudyFile, runtime: Runtime | None) -> ModelCheck:
    """Pair every model with the target and plan the memory.

    Args:
        study: the checked file.
        runtime: where they will lie; None plans nothing.

    Raises:
        UserError: a model cannot be read or does not pair, or the live model does not fit.
    """
    template, target = study.template, study.template.kept_from()
    labels = _labels(study)
    opened = open_models(template, [target])
    kind = type(opened.target.model).__name__
    lines = [f"target {labels[target]}: {kind}, {opened.shared.layers} layers, {target}"]
    warnings = list(opened.notes())
    for reference, label in labels.items():
        if reference == target:
            continue
        found = align(target, reference, template.exclude)
        lines.append(f"{label}: {found.expert}, layers {layer_map(found.layers)}, {reference}")
        warnings += [f"{label}: {text}" for text in found.differences]
    lines.append(_merged(opened))
    lines += opened.vocabulary
    if template.reward_head is not None:
        head = load_score_head(template.reward_head)
        lines.append(f"reward head: {head.in_features} -> 1, {template.reward_head}")
    memory: tuple[Plan, ...] = ()
    if runtime is not None:
        shards = place_model(opened, template, runtime, study.solutions())
        plans = plan_devices(opened, template, runtime, study.solutions(), shards)
        memory = tuple(plans.values())
    return ModelCheck(
        tuple(lines),
        tuple(warnings),
        opened.shared.layers,
        tuple(tensor.name for tensor in opened.tensors),
        memory,
    )


def _labels(study: StudyFile) -> Mapping[str, str]:
    """What each model is called; the target stands first."""
    template, target = study.template, study.template.kept_from()
    labels = {target: ""}
    if template.base_model is not None:
        labels[template.base_model] = "base"
    pairs = zip(template.models, study.labels, strict=True)
    return labels | {source.model: label for source, label in pairs}


def _merged(opened: Opened) -> str:
    tensors, numbers = len(opened.tensors), sum(opened.numels.values())
    return f"merged: {tensors} tensors, {numbers:,} parameters of each model"
