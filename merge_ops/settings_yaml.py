"""The parameters of a recipe: a scalar, a gradient over depth, or a list of {filter, value}."""

from collections.abc import Mapping
from typing import Any, get_type_hints

from merge_ops.errors import did_you_mean
from merge_ops.mergekit_keys import has_no_effect
from merge_ops.method import Method
from merge_ops.option_types import accepts, describe
from merge_ops.recipe import Entry, Setting
from merge_ops.registry import Value
from merge_ops.yaml_file import Location

Problems = list[tuple[Location, str]]


def read_settings(
    content: Mapping[str, Any] | None,
    op: Method,
    place: Location,
    problems: Problems,
    *,
    own: bool,
    notes: Problems | None = None,
) -> dict[str, Setting]:
    """Check and convert one `parameters:` mapping.

    Args:
        content: as read from the file; None for an empty key.
        op: the method whose parameters they are.
        place: where the mapping stands in the file.
        problems: what is wrong is appended here.
        own: it belongs to one model, so only per-expert knobs may stand in it.
        notes: a line is appended for each of mergekit's parameters that changes nothing here; if
            None, those are problems as any other unknown key.
    """
    settings = {}
    for key, value in (content or {}).items():
        where = (*place, key)
        dotted = ".".join(map(str, where))
        known = [k for k in op.parameters() if not own or _per_expert(op, k)]
        if key in known:
            settings[key] = _setting(value, op, key, where, problems)
        elif own and key in op.parameters():
            text = f"{dotted}: {key} has one value for all models; put it under the top parameters"
            problems.append((where, text))
        elif notes is not None and has_no_effect(op.name, key):
            notes.append((where, f"{key} has no effect here"))
        else:
            text = f"{dotted}: {op.name} has no parameter {key!r}{did_you_mean(key, known)}"
            problems.append((where, text))
    return settings


def read_value(value: Any, op: Method, key: str, place: Location, problems: Problems) -> Value:
    """Check and convert one plain value of a parameter: no gradient over depth, no filters."""
    if isinstance(value, (list, dict)):
        text = f"{'.'.join(map(str, place))}: must be one value, but got {value!r}"
        problems.append((place, text))
        return 0.0
    if key in op.knobs and op.knobs[key].whole:
        value = _whole(value, place, problems)[0].value
    else:
        value = _checked(value, op, key, place, problems)
    assert not isinstance(value, tuple)
    found: Value = value
    return found


def _per_expert(op: Method, key: str) -> bool:
    return key in op.knobs and op.knobs[key].per_expert


def _setting(value: Any, op: Method, key: str, place: Location, problems: Problems) -> Setting:
    """One parameter's value in any of its three forms."""
    if key in op.knobs and op.knobs[key].whole:
        return _whole(value, place, problems)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not any(isinstance(item, dict) for item in value):
        return (Entry(None, _checked(value, op, key, place, problems)),)
    entries = []
    for i, item in enumerate(value):
        where = (*place, i)
        if not isinstance(item, dict) or "value" not in item or item.keys() - {"filter", "value"}:
            text = f"{'.'.join(map(str, where))}: each entry must be {{filter: text, value: ...}}"
            extra = sorted(item.keys() - {"filter", "value"}) if isinstance(item, dict) else []
            problems.append(((*where, *extra[:1]), text))
            continue
        pattern = item.get("filter")
        if pattern is not None and not isinstance(pattern, str):
            text = f"{'.'.join(map(str, where))}.filter: must be text, but got {pattern!r}"
            problems.append(((*where, "filter"), text))
            continue
        checked = _checked(item["value"], op, key, (*where, "value"), problems)
        entries.append(Entry(None if pattern == "*" else pattern, checked))
    return tuple(entries)


def _whole(value: Any, place: Location, problems: Problems) -> Setting:
    """A knob that has one whole number for the whole recipe."""
    if isinstance(value, bool) or not isinstance(value, int):
        text = "must be one whole number, without filters or gradient"
        problems.append((place, f"{'.'.join(map(str, place))}: {text}, but got {value!r}"))
        return (Entry(None, 0),)
    return (Entry(None, value),)


def _checked(value: Any, op: Method, key: str, place: Location, problems: Problems) -> Any:
    """A number or gradient for a knob, or what the method's own type says for a switch."""
    if key in op.options and value in (0, 1) and _option_problem(bool(value), op, key) is None:
        value = bool(value)  # as mergekit, which takes 1.0 for true
    problem = _knob_problem(value, key) if key in op.knobs else _option_problem(value, op, key)
    if problem:
        bad = _bad_entry(value, key) if key in op.knobs else ()
        text = f"{'.'.join(map(str, place))}: {problem}, but got {value!r}"
        problems.append(((*place, *bad), text))
        return 0.0
    if key not in op.knobs:
        return value
    return tuple(map(float, value)) if isinstance(value, list) else float(value)


def _knob_problem(value: Any, key: str) -> str | None:
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(_is_number(v) for v in numbers):
        return "must be a finite number or a list of numbers (a gradient over depth)"
    if key == "density" and not all(0 <= v <= 1 for v in numbers):
        return "a density is a share and must lie in [0, 1]"
    return None


def _bad_entry(value: Any, key: str) -> Location:
    """The first entry of a gradient that is wrong, or nothing."""
    entries = value if isinstance(value, list) else []
    return next(((i,) for i, entry in enumerate(entries) if _knob_problem([entry], key)), ())


def _is_number(value: Any) -> bool:
    finite = isinstance(value, (int, float)) and abs(value) < float("inf")
    return finite and not isinstance(value, bool)


def _option_problem(value: Any, op: Method, key: str) -> str | None:
    """Check a switch against the type that the method's signature gives it."""
    hint = get_type_hints(op.fn)[key]
    return None if accepts(hint, value) else f"must be {describe(hint)}"


def dump_settings(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The plain form of settings that is written to YAML; gradients stay on one line."""
    return {key: _dump(setting) for key, setting in settings.items()}


def _dump(setting: Setting) -> Any:
    if len(setting) == 1 and setting[0].filter is None:
        return _dump_value(setting[0].value)
    return [
        ({"filter": e.filter} if e.filter is not None else {}) | {"value": _dump_value(e.value)}
        for e in setting
    ]


def _dump_value(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    from ruamel.yaml.comments import CommentedSeq

    line = CommentedSeq(value)
    line.fa.set_flow_style()
    return line
