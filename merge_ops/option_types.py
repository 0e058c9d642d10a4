"""Checks of a method's options against the types in its signature."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin


def accepts(hint: Any, value: Any) -> bool:
    """Tell whether `value` is of the type `hint`: bool, int, float, str, Literal or a union.

    An int is a float; a bool is neither.
    """
    if get_origin(hint) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return any(accepts(part, value) for part in get_args(hint))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def describe(hint: Any) -> str:
    """Name the type for an error message, such as "true, false or 'l1'"."""
    words = _words(hint)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _words(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [repr(choice) for choice in get_args(hint)]
    if get_origin(hint) in (Union, UnionType):
        return [word for part in get_args(hint) for word in _words(part)]
    names = {
        bool: ["true", "false"],
        int: ["a whole number"],
        float: ["a number"],
        str: ["a text"],
    }
    return names[hint]
