"""A YAML file's content against a pydantic model, whose complaints are put in the file's words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from merge_ops.errors import did_you_mean
from merge_ops.yaml_file import Location, YamlFile

if TYPE_CHECKING:
    from pydantic import BaseModel

_SHOWN = 80  # characters of a wrong value that a message repeats

Schema = TypeVar("Schema", bound="BaseModel")


def validate(file: YamlFile, schema: type[Schema]) -> Schema:
    """Check the content against a pydantic model and return the model.

    Raises:
        UserError: with one line for each problem.
    """
    from pydantic import ValidationError

    try:
        return schema.model_validate(file.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems = [_problem(detail, schema, file.data) for detail in details]
    raise file.error(problems)


def _problem(detail: Any, schema: type["BaseModel"], data: Any) -> tuple[Location, str]:
    """Put one of pydantic's errors into words."""
    location = _without_tags(detail["loc"], data)
    dotted = ".".join(map(str, location))
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(str(location[-1]), _known_keys(schema, location[:-1]))
        return location, f"{dotted}: unknown key{hint}"
    if detail["type"] == "missing":
        return location, f"{dotted}: this key is required"
    if detail["type"] == "union_tag_invalid":
        key = detail["ctx"]["discriminator"].strip("'")
        known = detail["ctx"]["expected_tags"].replace("'", "").split(", ")
        hint = did_you_mean(detail["ctx"]["tag"], known)
        text = f"{dotted}.{key}: must be one of {', '.join(known)}, not {detail['ctx']['tag']!r}"
        return (*location, key), text + hint
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return location, f"{dotted}: {message}" if dotted else message
    got = repr(detail["input"])
    shown = got if len(got) <= _SHOWN else f"{got[:_SHOWN]}..."
    return location, f"{dotted}: {message}, but got {shown}"


def _without_tags(location: Location, data: Any) -> Location:
    """Drop the names of a union's branches, which pydantic adds and the file does not have."""
    found: list[str | int] = []
    for i, step in enumerate(location):
        last = i == len(location) - 1
        if isinstance(data, dict):
            if step not in data and not last:
                continue
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step] if step < len(data) else None
        elif isinstance(step, str):
            continue  # below a scalar there is nothing in the file
        found.append(step)
    return tuple(found)


def _known_keys(schema: type["BaseModel"], location: Sequence[str | int]) -> list[str]:
    """The keys that the model at `location` inside `schema` accepts."""
    models: list[Any] = [schema]
    for step in location:
        models = [inner for model in models for inner in _inner_models(model, step)] or models
    return sorted({field.alias or n for m in models for n, field in m.model_fields.items()})


def _inner_models(model: Any, step: str | int) -> list[Any]:
    """Pydantic models that the field `step` of `model` may hold; an index changes nothing."""
    if isinstance(step, int):
        return [model]
    field = model.model_fields.get(step)
    found, todo = [], [field.annotation] if field else []
    while todo:
        kind = todo.pop()
        if hasattr(kind, "model_fields"):
            found.append(kind)
        todo.extend(get_args(kind))
    return found
