"""From a study file to the objects of a run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

from merge_ops.hub import weights_sha256
from merge_ops.method import Method
from merge_ops.recipe import Recipe, Setting, Source
from merge_ops.references import locate, short_name
from merge_ops.rewriting import Rewrite, find_method
from merge_ops.settings_yaml import Problems, read_settings
from merge_ops.template_file import template_problems
from merge_ops.yaml_file import YamlFile, read_yaml
from merge_ops.yaml_schema import validate
from search.warm_start import GRIDS
from studies.choice_rules import Choices, read_choices
from studies.config import StudyConfig
from studies.data_settings import data_problems, with_presets
from studies.mistaken import check_study_file
from studies.model_places import at_models
from studies.objective_rules import front_problems, guard_problems
from studies.out_folder import out_folder, out_problems
from studies.search_rules import method_problems, search_misfits
from studies.searchable import searched_methods
from studies.statistics_settings import statistics_problems
from studies.tasks import task_misfits, template_tasks


@dataclass(frozen=True, slots=True)
class StudyFile:
    """A checked study file.

    Attributes:
        config: its content.
        file: where it was read from, for located errors.
        template: the recipe that candidates fill in: models, terms and fixed parameters.
        labels: a short name per model.
        out: the study's folder.
        choices: the values of what is searched over a list.
    """

    config: StudyConfig
    file: YamlFile
    template: Recipe
    labels: tuple[str, ...]
    out: Path
    choices: Choices = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the file lies; its paths are relative to it."""
        return self.file.path.parent

    def solutions(self) -> int:
        """How many task vectors its methods solve for each tensor; 0 if they solve none."""
        return sum(
            prod(
                len(values)
                for name, values in self.choices.items()
                if name != op.traits.scale and name in op.parameters()
            )
            for op in self.methods()
            if op.traits.solve
        )

    def methods(self) -> list[Method]:
        """Every method that its candidates may have; its own first."""
        return searched_methods(self.config)

    def target_index(self) -> int | None:
        """Which of the experts is the target itself, or None."""
        models = [source.model for source in self.template.models]
        target = self.template.kept_from()
        return models.index(target) if target in models else None


def read_study(path: Path) -> StudyFile:
    """Read and check a study file, without loading a model or data.

    Raises:
        UserError: one line per problem, each with its place in the file.
    """
    check_study_file(path)
    file = read_yaml(path)
    file = with_presets(file)
    config = validate(file, StudyConfig)
    problems: Problems = []
    problems += method_problems(config)
    if problems:
        raise file.error(problems)
    op = find_method(config.method)
    template = _template(config, searched_methods(config), path.parent, problems)
    names = [e.name or _short_name(e.model, path.parent) for e in config.experts]
    template = replace(template, tasks=template_tasks(template, op, names))
    problems += _misfits(config, template) + task_misfits(config, op, names, template.tasks)
    choices = read_choices(config, problems)
    for rewrite in searched_methods(config):
        if isinstance(rewrite, Rewrite):
            problems += _lacks(config, rewrite, template)
    labels = tuple(name.replace(".", "-") for name in names)
    problems += statistics_problems(config, op, labels) + data_problems(config)
    problems += guard_problems(config, labels) + front_problems(config)
    problems = problems or out_problems(config, path, template)
    if problems:
        raise file.error(problems)
    if len(set(labels)) < len(labels):
        raise file.error([(("experts",), f"experts: names must differ, but are {list(labels)}")])
    return StudyFile(config, file, template, labels, out_folder(config, path.parent), choices)


def _short_name(text: str, folder: Path) -> str:
    """What an expert without a name is called: by its folders, without revisions."""
    return re.sub(r"@[^+]*", "", short_name(text, folder))


def _template(
    config: StudyConfig, ops: Sequence[Method], folder: Path, problems: Problems
) -> Recipe:
    """The part of every candidate that the search does not change."""

    def model(text: str | None, *place: str | int) -> str | None:
        try:
            return None if text is None else locate(text, folder)
        except ValueError as error:
            problems.append((place, f"{'.'.join(map(str, place))}: {error}"))
            return text

    experts = [
        Source(model(expert.model, "experts", i, "model") or "")
        for i, expert in enumerate(config.experts)
    ]
    dtype = config.runtime.dtype
    known = {"target", "reward_head"}
    chosen = config.runtime.template
    parameters: dict[str, Setting] = {}
    for key, value in config.parameters.items():
        op = next((op for op in ops if key in op.parameters()), ops[0])
        parameters |= read_settings({key: value}, op, ("parameters",), problems, own=False)
    return Recipe(
        method=config.method,
        models=tuple(experts),
        base_model=model(config.base, "base"),
        parameters=parameters,
        dtype=dtype,
        out_dtype=dtype,
        target=model(config.target, "target"),
        reward_head=model(config.reward_head, "reward_head"),
        exclude=tuple(config.exclude),
        towers={key: model(text, "towers", key) or "" for key, text in config.towers.items()},
        template=chosen if chosen in known else str((folder / chosen).resolve()),
        seed=config.seed,
    )


def _misfits(config: StudyConfig, template: Recipe) -> Problems:
    """Rules between keys."""
    problems: Problems = [
        (("method",), f"base: {op.name} needs a base model")
        for op in searched_methods(config)
        if op.needs_base and config.base is None
    ]
    problems += search_misfits(config)
    problems += [
        (
            ("warm_start", i),
            f"warm_start.{i}: there is no grid {name!r}; known are {sorted(GRIDS)}",
        )
        for i, name in enumerate(config.warm_start)
        if isinstance(name, str) and name not in GRIDS
    ]
    problems += template_problems(template.template, ("runtime", "template"))
    for i, objective in enumerate(config.objectives):
        if getattr(objective, "scorer", "") == "reward_head" and config.reward_head is None:
            text = f"objectives.{i}: scoring by reward_head needs the key `reward_head`"
            problems.append((("objectives", i), text))
    return problems


def _lacks(config: StudyConfig, op: Rewrite, template: Recipe) -> Problems:
    """What a study of a method that rewrites recipes still needs."""
    problems: Problems = []
    for place, text in op.misfits(template):
        if place == ("models",):
            problems.append((("experts",), f"experts: {text.partition(': ')[2]}"))
    problems += [
        (("method",), f"method: {op.name} needs {key!r}, searched or under parameters")
        for key in op.required
        if key not in {*config.parameters, *config.search.knobs, *config.search.choices}
    ]
    for knob, span in config.search.knobs.items():
        if knob in op.knobs and op.knobs[knob].whole and any(v != int(v) for v in span.ends()):
            text = f"search.knobs.{knob}: must be two whole numbers, but is {span.range}"
            problems.append((("search", "knobs", knob), text))
    return problems


def identities(study: StudyFile) -> dict[str, str]:
    """Sha256 of every model's files, by reference: what the digests of recipes are made from."""
    with at_models(study):
        return {ref: weights_sha256(ref) for ref in study.template.references()}
