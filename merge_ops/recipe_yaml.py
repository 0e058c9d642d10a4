"""recipe.yaml: reading it strictly, writing it so that mergekit reads it too."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from merge_ops.atomic import write_text
from merge_ops.errors import did_you_mean
from merge_ops.recipe import Entry, Recipe, Setting, Source
from merge_ops.references import locate, relative
from merge_ops.registry import MergeOp, all_ops
from merge_ops.settings_yaml import dump_settings, read_settings
from merge_ops.statistics_yaml import StatisticsBlock, dump_statistics, read_statistics
from merge_ops.yaml_file import Location, YamlFile, parse_yaml, read_yaml, validate

Dtype = Literal["float32", "bfloat16", "float16"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Model(_Strict):
    model: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class _Block(_Strict):
    version: Literal[1]
    target: str
    reward_head: str | None = None
    exclude: list[str] = Field(default_factory=list)
    template: str = "target"
    seed: int = 0
    statistics: StatisticsBlock | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)


class _File(_Strict):
    merge_method: str
    base_model: str | None = None
    models: list[_Model] = Field(min_length=1)
    parameters: dict[str, Any] = Field(default_factory=dict)
    dtype: Dtype | None = None
    out_dtype: Dtype | None = None
    mergetuna: _Block | None = None


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; relative model paths are relative to its folder.

    Raises:
        UserError: one line per problem, each with its place in the file.
    """
    return _read(read_yaml(path))


def parse_recipe(text: str, path: Path) -> Recipe:
    """As `read_recipe`, for text that stands, or is to stand, in `path`."""
    return _read(parse_yaml(text, path))


def _read(file: YamlFile) -> Recipe:
    content = validate(file, _File)
    ops = {op.name: op for op in all_ops()}
    op = ops.get(content.merge_method)
    if op is None:
        hint = did_you_mean(content.merge_method, ops)
        text = f"merge_method: there is no method {content.merge_method!r}{hint}"
        raise file.error([(("merge_method",), text)])
    problems: list[tuple[Location, str]] = []
    recipe = _recipe(content, op, file.path.parent, problems)
    given = content.mergetuna.statistics if content.mergetuna else None
    recipe = replace(recipe, statistics=read_statistics(file, given, op, problems))
    problems += _misfits(recipe, op)
    if problems:
        raise file.error(problems)
    return recipe


def _recipe(
    content: _File, op: MergeOp, folder: Path, problems: list[tuple[Location, str]]
) -> Recipe:
    """Turn the checked file into a recipe, collecting problems with their places."""

    def model(reference: str | None, *place: str | int) -> str | None:
        try:
            return None if reference is None else locate(reference, folder)
        except ValueError as error:
            problems.append((place, f"{'.'.join(map(str, place))}: {error}"))
            return reference

    block = content.mergetuna
    models = []
    for i, entry in enumerate(content.models):
        own = read_settings(entry.parameters, op, ("models", i, "parameters"), problems, own=True)
        models.append(Source(model(entry.model, "models", i, "model") or "", own))
    recipe = Recipe(
        method=op.name,
        models=tuple(models),
        base_model=model(content.base_model, "base_model"),
        parameters=read_settings(content.parameters, op, ("parameters",), problems, own=False),
        dtype=content.dtype,
        out_dtype=content.out_dtype,
        target=model(block.target, "mergetuna", "target") if block else None,
        reward_head=model(block.reward_head, "mergetuna", "reward_head") if block else None,
        exclude=tuple(block.exclude) if block else (),
        template=_template(block.template, folder) if block else "target",
        seed=block.seed if block else 0,
        provenance=block.provenance if block else {},
    )
    plain = tuple(Source(m.model, _without_exclusions(recipe, m)) for m in recipe.models)
    return replace(recipe, models=plain)


def _template(text: str, folder: Path) -> str:
    """A template file is named relative to the recipe, like a model."""
    return text if text in {"target", "reward_head"} else str((folder / text).resolve())


def _misfits(recipe: Recipe, op: MergeOp) -> list[tuple[Location, str]]:
    """Rules between keys."""
    problems: list[tuple[Location, str]] = []
    if op.needs_base and recipe.base_model is None:
        problems.append((("merge_method",), f"base_model: {op.name} needs a base_model"))
    count = len(recipe.experts(op))
    if count < op.min_experts or (op.max_experts is not None and count > op.max_experts):
        most = "any number of" if op.max_experts is None else str(op.max_experts)
        text = f"models: {op.name} merges {op.min_experts} to {most} models, but got {count}"
        problems.append((("models",), text))
    if recipe.template == "reward_head" and recipe.reward_head is None:
        text = "mergetuna.template: 'reward_head' needs the key reward_head"
        problems.append((("mergetuna", "template"), text))
    return problems


def recipe_text(recipe: Recipe, folder: Path) -> str:
    """The file's content; models below the parent of `folder` are written relative to it."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.width = 4096
    stream = io.StringIO()
    yaml.dump(_content(recipe, folder), stream)
    return stream.getvalue()


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe to `path`, atomically; `read_recipe` gives the same recipe back."""
    write_text(path, recipe_text(recipe, path.parent))


def _content(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The mapping that is written; exclusions also lead every setting, for mergekit's sake."""

    def name(reference: str) -> str:
        return relative(reference, folder)

    models = []
    for source in recipe.models:
        own = dump_settings(_with_exclusions(recipe, source))
        models.append({"model": name(source.model)} | ({"parameters": own} if own else {}))
    content: dict[str, Any] = {"merge_method": recipe.method}
    if recipe.base_model:
        content["base_model"] = name(recipe.base_model)
    content["models"] = models
    if recipe.parameters:
        content["parameters"] = dump_settings(recipe.parameters)
    content |= {k: v for k in ("dtype", "out_dtype") if (v := getattr(recipe, k))}
    if recipe.target:
        block: dict[str, Any] = {"version": 1, "target": name(recipe.target)}
        if recipe.reward_head:
            block["reward_head"] = name(recipe.reward_head)
        block |= {"exclude": list(recipe.exclude), "template": name(recipe.template)}
        block |= {"seed": recipe.seed, **dump_statistics(recipe.statistics, folder)}
        block["provenance"] = dict(recipe.provenance)
        content["mergetuna"] = block
    return content


def _exclusions(recipe: Recipe, source: Source) -> dict[str, Setting]:
    """What `exclude` says, as filters in front: mergekit then keeps the same tensors."""
    weight = 1.0 if source.model == recipe.kept_from() else 0.0
    values = {"weight": weight, "density": 1.0}
    return {k: tuple(Entry(part, v) for part in recipe.exclude) for k, v in values.items()}


def _with_exclusions(recipe: Recipe, source: Source) -> dict[str, Setting]:
    front = _exclusions(recipe, source)
    return {k: (*front.get(k, ()), *setting) for k, setting in source.parameters.items()}


def _without_exclusions(recipe: Recipe, source: Source) -> dict[str, Setting]:
    front = _exclusions(recipe, source)
    return {
        k: setting[len(lead) :] if lead and setting[: len(lead)] == lead else setting
        for k, setting in source.parameters.items()
        for lead in [front.get(k, ())]
    }
