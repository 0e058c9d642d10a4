"""A user's own function, imported from `module:function`."""

import importlib
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from objectives.data import Example
from objectives.errors import ObjectiveError

Judge = Callable[..., Any]
"""`(response, example, /, *, options) -> Verdict`; a user's own may return a number in [0, 1]."""


def import_judge(module_name: str, function_name: str) -> Judge:
    """A metric, whose failures then name it and the example.

    Raises:
        ObjectiveError: as `import_function`.
    """
    path = f"{module_name}:{function_name}"
    return _named(import_function("metric", path, ("response", "example")), path)


def import_function(what: str, path: str, arguments: tuple[str, ...]) -> Callable[..., Any]:
    """The function at `module:function`.

    Importing runs the module, as `import` does anywhere: only from where Python looks for modules,
    never from a study's folder, which may come from a stranger.

    Args:
        what: what it is for, for messages.
        path: where it is.
        arguments: names of what it is called with, in their places.

    Raises:
        ObjectiveError: the module cannot be imported, has no such function, or the function does
            not take the arguments.
    """
    module_name, _, function_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's file may raise anything
        raise ObjectiveError(
            f"{what} {path}: the module {module_name!r} cannot be imported: "
            f"{type(error).__name__}: {error}. It must be installed or lie on PYTHONPATH."
        ) from None
    fn: Callable[..., Any] | None = getattr(module, function_name, None)
    if not callable(fn):
        held = [n for n, v in vars(module).items() if inspect.isfunction(v) and n[0] != "_"]
        raise ObjectiveError(
            f"{what} {path}: {module_name} has no function {function_name!r}; it has "
            f"{', '.join(sorted(held)) or 'none'}."
        )
    try:
        inspect.signature(fn).bind(*arguments)
    except (TypeError, ValueError) as error:
        raise ObjectiveError(
            f"{what} {path}: it must be callable as f({', '.join(arguments)}), but {error}."
        ) from None
    return fn


def _named(fn: Judge, path: str) -> Judge:
    """The function with whatever it raises told in one line."""

    @wraps(fn)
    def judge(response: str, example: Example, /, **options: Any) -> Any:
        try:
            return fn(response, example, **options)
        except ObjectiveError:
            raise
        except Exception as error:
            raise ObjectiveError(
                f"metric {path} failed on example {example.id}: {type(error).__name__}: {error}"
            ) from error

    return judge
