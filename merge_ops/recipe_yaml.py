"""recipe.yaml: reading it strictly."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from merge_ops.errors import did_you_mean
from merge_ops.groups_yaml import PER_GROUP, GroupFile, read_groups
from merge_ops.mergekit_keys import without_idle_keys
from merge_ops.mergekit_reference import Reference
from merge_ops.method import Method
from merge_ops.recipe import MethodGroup, Recipe, Setting, Source
from merge_ops.recipe_text import exclusions
from merge_ops.references import locate
from merge_ops.rewriting import LISTED, Rewrite, all_methods
from merge_ops.settings_yaml import Problems, read_settings
from merge_ops.slices_yaml import SliceFile, count_problems, read_slices, shape_problems
from merge_ops.statistics_yaml import StatisticsBlock, read_statistics
from merge_ops.template_file import template_problems
from merge_ops.view_recipes import task_problems
from merge_ops.yaml_file import YamlFile, parse_yaml, read_yaml
from merge_ops.yaml_schema import validate

Dtype = Literal["float32", "bfloat16", "float16"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Model(_Strict):
    model: Reference
    parameters: dict[str, Any] | None = None


class _Block(_Strict):
    version: Annotated[int, Field(ge=1, le=1)]  # Literal[1] would take true
    target: str
    reward_head: str | None = None
    exclude: list[str] = Field(default_factory=list)
    towers: dict[str, str] = Field(default_factory=dict)
    template: str = "target"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    statistics: StatisticsBlock | None = None
    tasks: dict[str, str] = Field(default_factory=dict)
    methods: list[GroupFile] = Field(default_factory=list)
    provenance: dict[str, Any] = Field(default_factory=dict)


class _File(_Strict):
    merge_method: str
    base_model: Reference | None = None
    models: list[_Model] | None = None
    slices: list[SliceFile] | None = None
    parameters: dict[str, Any] | None = None
    dtype: Dtype | None = None
    out_dtype: Dtype | None = None
    mergetuna: _Block | None = None


def read_recipe(path: Path, notes: list[str] | None = None) -> Recipe:
    """Read and check a recipe; relative model paths are relative to its folder.

    Args:
        path: the file.
        notes: a line is appended for each of mergekit's keys that changes nothing here.

    Raises:
        UserError: one line per problem, each with its place in the file.
    """
    return _read(read_yaml(path), notes)


def parse_recipe(text: str, path: Path) -> Recipe:
    """As `read_recipe`, for text that stands, or is to stand, in `path`."""
    return _read(parse_yaml(text, path), None)


def _read(file: YamlFile, notes: list[str] | None) -> Recipe:
    problems: Problems = []
    passed: Problems = []
    content = validate(without_idle_keys(file, problems, passed), _File)
    ops, groups = _methods(content, file, problems)
    op = ops[0]
    problems += shape_problems(content.models, content.slices, content.base_model)
    if isinstance(op, Rewrite) and content.slices:
        text = f"slices: {op.name} rewrites the whole depth; write models:"
        problems.append((("slices",), text))
    if problems and not content.models and not content.slices:
        raise file.error(problems)
    recipe = _recipe(content, ops, file.path.parent, problems, passed)
    recipe = replace(recipe, groups=groups)
    given = content.mergetuna.statistics if content.mergetuna else None
    named = read_statistics(file, given, op, len(recipe.models), problems)
    recipe = replace(recipe, statistics=named)
    said = {place for place, _ in problems}
    misfits = [problem for one in ops for problem in _misfits(recipe, one)]
    problems += [problem for problem in dict.fromkeys(misfits) if problem[0] not in said]
    if problems:
        raise file.error(problems)
    lines = sorted((file.where(place)[0], text) for place, text in passed)
    if notes is not None:
        notes += [f"{file.path}:{line}: {text}" for line, text in lines]
    return recipe


def _methods(
    content: _File, file: YamlFile, problems: Problems
) -> tuple[list[Method], tuple[MethodGroup, ...]]:
    """The methods of a recipe, the one of the rest first, and what the others merge.

    Raises:
        UserError: there is no method of a name.
    """
    said: Problems = []
    entries = content.mergetuna.methods if content.mergetuna else []
    rest, groups = read_groups(content.merge_method, entries, said)
    methods = {method.name: method for method in all_methods()}
    if rest not in methods and content.merge_method != PER_GROUP:
        text = f"merge_method: there is no method {rest!r}{did_you_mean(rest, methods) or LISTED}"
        said.append((("merge_method",), text))
    if content.merge_method == PER_GROUP and content.slices:
        said.append((("slices",), f"slices: a recipe {PER_GROUP} has none; write models:"))
    if any(name not in methods for name in (rest, *(group.method for group in groups))):
        raise file.error(said)
    problems += said
    names = dict.fromkeys([rest, *(group.method for group in groups)])
    return [methods[name] for name in names], groups


def _recipe(
    content: _File, ops: Sequence[Method], folder: Path, problems: Problems, notes: Problems
) -> Recipe:
    """Turn the checked file into a recipe, collecting problems and notes with their places."""

    def model(reference: str | None, *place: str | int) -> str | None:
        try:
            return None if reference is None else locate(reference, folder)
        except ValueError as error:
            problems.append((place, f"{'.'.join(map(str, place))}: {error}"))
            return reference

    def settings(found: dict[str, Any] | None, *place: str | int, own: bool) -> dict[str, Setting]:
        read: dict[str, Setting] = {}
        for key, value in (found or {}).items():
            op = next((op for op in ops if key in op.parameters()), ops[0])
            read |= read_settings({key: value}, op, place, problems, own=own, notes=notes)
        return read

    op, block = ops[0], content.mergetuna
    slices = read_slices(content.slices or (), op, model, problems, notes)
    models = [Source(name) for part in slices for name in [s.model for s in part.sources]]
    models = [m for i, m in enumerate(models) if m not in models[:i]]
    for i, entry in enumerate(content.models or ()):
        own = settings(entry.parameters, "models", i, "parameters", own=True)
        models.append(Source(model(entry.model, "models", i, "model") or "", own))
    recipe = Recipe(
        method=op.name,
        models=tuple(models),
        base_model=model(content.base_model, "base_model"),
        parameters=settings(content.parameters, "parameters", own=False),
        dtype=content.dtype,
        out_dtype=content.out_dtype,
        target=model(block.target, "mergetuna", "target") if block else None,
        reward_head=model(block.reward_head, "mergetuna", "reward_head") if block else None,
        exclude=tuple(block.exclude) if block else (),
        towers={
            key: model(text, "mergetuna", "towers", key) or ""
            for key, text in (block.towers if block else {}).items()
        },
        template=_template(block.template, folder) if block else "target",
        seed=block.seed if block else 0,
        tasks={
            task: model(text, "mergetuna", "tasks", task) or ""
            for task, text in (block.tasks if block else {}).items()
        },
        provenance=block.provenance if block else {},
        slices=slices,
    )
    plain = tuple(Source(m.model, _without_exclusions(recipe, m)) for m in recipe.models)
    return replace(recipe, models=plain)


def _template(text: str, folder: Path) -> str:
    """A template file is named relative to the recipe, like a model."""
    return text if text in {"target", "reward_head"} else str((folder / text).resolve())


def _misfits(recipe: Recipe, op: Method) -> Problems:
    """Rules between keys."""
    problems: Problems = []
    if op.needs_base and recipe.base_model is None:
        problems.append((("merge_method",), f"base_model: {op.name} needs a base_model"))
    problems += task_problems(recipe, op)
    if isinstance(op, Rewrite):
        problems += op.misfits(recipe)
    else:
        problems += count_problems(recipe, op)
    problems += template_problems(recipe.template, ("mergetuna", "template"))
    if recipe.template == "reward_head" and recipe.reward_head is None:
        text = "mergetuna.template: 'reward_head' needs the key reward_head"
        problems.append((("mergetuna", "template"), text))
    return problems


def _without_exclusions(recipe: Recipe, source: Source) -> dict[str, Setting]:
    front = exclusions(recipe, source)
    return {
        k: setting[len(lead) :] if lead and setting[: len(lead)] == lead else setting
        for k, setting in source.parameters.items()
        for lead in [front.get(k, ())]
    }
