"""From a study file to the objects of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

from merge_ops.hub import weights_sha256
from merge_ops.method import Method
from merge_ops.recipe import Recipe, Source
from merge_ops.references import locate
from merge_ops.residency import Runtime, load_resident
from merge_ops.resident import ResidentModel
from merge_ops.rewriting import Rewrite, all_methods, find_method
from merge_ops.settings_yaml import Problems, read_settings
from merge_ops.yaml_file import YamlFile, read_yaml, validate
from search.space import KnobRange, SearchSpace
from search.warm_start import GRIDS
from studies.config import StudyConfig
from studies.console import warn
from studies.search_rules import Choices, read_choices, search_misfits
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
        """How many task vectors the method solves for each tensor; 0 if it solves none."""
        traits = find_method(self.template.method).traits
        lists = [len(values) for name, values in self.choices.items() if name != traits.scale]
        return prod(lists) if traits.solve else 0

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
    file = read_yaml(path)
    config = validate(file, StudyConfig)
    problems: Problems = []
    ops = {op.name: op for op in all_methods()}
    op = ops.get(config.method)
    if op is None:
        text = f"method: there is no merge method {config.method!r}; known are {sorted(ops)}"
        raise file.error([(("method",), text)])
    template = _template(config, op, path.parent, problems)
    names = [e.name or Path(e.model).name.partition("@")[0] for e in config.experts]
    template = replace(template, tasks=template_tasks(template, op, names))
    problems += _misfits(config, op) + task_misfits(config, op, names, template.tasks)
    choices = read_choices(config, op, problems)
    if isinstance(op, Rewrite):
        problems += _lacks(config, op, template)
    labels = tuple(name.replace(".", "-") for name in names)
    problems += statistics_problems(config, op, labels)
    if problems:
        raise file.error(problems)
    if len(set(labels)) < len(labels):
        raise file.error([(("experts",), f"experts: names must differ, but are {list(labels)}")])
    out = path.parent / (config.out or f"runs/{config.name}")
    return StudyFile(config, file, template, labels, out, choices)


def _template(config: StudyConfig, op: Method, folder: Path, problems: Problems) -> Recipe:
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
    return Recipe(
        method=op.name,
        models=tuple(experts),
        base_model=model(config.base, "base"),
        parameters=read_settings(config.parameters, op, ("parameters",), problems, own=False),
        dtype=dtype,
        out_dtype=dtype,
        target=model(config.target, "target"),
        reward_head=model(config.reward_head, "reward_head"),
        exclude=tuple(config.exclude),
        towers={key: model(text, "towers", key) or "" for key, text in config.towers.items()},
        template=chosen if chosen in known else str((folder / chosen).resolve()),
        seed=config.seed,
    )


def _misfits(config: StudyConfig, op: Method) -> Problems:
    """Rules between keys."""
    problems: Problems = []
    if op.needs_base and config.base is None:
        problems.append((("method",), f"base: {op.name} needs a base model"))
    problems += search_misfits(config, op)
    problems += [
        (
            ("warm_start", i),
            f"warm_start.{i}: there is no grid {name!r}; known are {sorted(GRIDS)}",
        )
        for i, name in enumerate(config.warm_start)
        if name not in GRIDS
    ]
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
        if knob in op.knobs and op.knobs[knob].whole and any(v != int(v) for v in span):
            text = f"search.knobs.{knob}: must be two whole numbers, but is {span}"
            problems.append((("search", "knobs", knob), text))
    return problems


def make_space(
    study: StudyFile, layers: int, names: Sequence[str] = (), *, by_depth: bool = True
) -> SearchSpace:
    """The study's search space, or its rival with one value for the whole depth.

    Args:
        study: the checked file.
        layers: number of text layers of the resident models.
        names: canonical names of the tensors that they merge.
        by_depth: as the file says; otherwise one band and no halves.

    Raises:
        UserError: more bands than layers, or values that do not fit the layers.
    """
    search = study.config.search
    bands = layers if search.bands == "layers" else search.bands
    space = SearchSpace(
        template=study.template,
        labels=study.labels,
        ranges={name: KnobRange(*span) for name, span in search.knobs.items()},
        layers=layers,
        bands=bands if by_depth else 1,
        halves=search.halves if by_depth else False,
        names=tuple(names),
        choices=study.choices,
    )
    for end in (0, 1):  # what does not fit is told before the first trial
        space.decode({d.name: d.ends()[end] for d in space.dimensions()})
    return space


def prepare_runtime(config: StudyConfig) -> Runtime:
    """Set the number of CPU threads and choose the device; "auto" takes the first GPU if any."""
    import torch

    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    device = config.runtime.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    limit = config.runtime.memory_gb
    return Runtime(
        device,
        config.runtime.attention,
        config.runtime.image_backend,
        config.runtime.kernels,
        memory=None if limit is None else int(limit * 1e9),
        shard=config.runtime.shard,
        report=warn,
    )


def load_models(study: StudyFile) -> ResidentModel:
    """Load the study's models; the target is always among the sources, for the comparison."""
    return load_resident(
        study.template,
        prepare_runtime(study.config),
        also=[study.template.kept_from()],
        solutions=study.solutions(),
    )


def identities(study: StudyFile) -> dict[str, str]:
    """Sha256 of every model's files, by reference: what the digests of recipes are made from."""
    return {ref: weights_sha256(ref) for ref in study.template.references()}
