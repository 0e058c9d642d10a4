"""Names to metrics: every module of objectives/metrics registers the function it holds."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, partial
from typing import Any, TypeVar

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.verdict import Verdict

Judge = Callable[..., Any]
"""`(response, example, /, *, options) -> Verdict`; a user's own may return a number in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A function that judges one response against what its example says.

    Attributes:
        name: as in a study file.
        fn: pure; options are keywords with defaults.
        needs: roles of the example that it reads, in `texts`, `lists` or `numbers`. "answer" is
            found under "answers" too.
        options: its keywords, with their defaults.
        source: where the metric is defined.
    """

    name: str
    fn: Judge
    needs: tuple[str, ...]
    options: Mapping[str, Any]
    source: str

    def with_options(self, options: Mapping[str, Any]) -> "Metric":
        """The same metric with other values of its options.

        Raises:
            ObjectiveError: it has no such option.
        """
        unknown = [name for name in options if name not in self.options]
        if unknown:
            raise ObjectiveError(
                f"metric {self.name} has no option {unknown[0]!r}; it has "
                f"{', '.join(self.options) or 'none'}."
            )
        return Metric(
            self.name,
            partial(self.fn, **options),
            self.needs,
            {**self.options, **options},
            self.source,
        )

    def check(self, example: Example) -> None:
        """Refuse an example that lacks what the metric reads.

        Raises:
            ObjectiveError: a role is missing; the example is named.
        """
        known = {*example.texts, *example.lists, *example.numbers}
        if "answers" in known:
            known.add("answer")
        missing = [role for role in self.needs if role not in known]
        if missing:
            raise ObjectiveError(
                f"metric {self.name} reads {', '.join(self.needs)}, but example {example.id} has "
                f"no {missing[0]} (it has {', '.join(sorted(known)) or 'nothing'}). Map the "
                "data's columns, or take another metric."
            )

    def __call__(self, response: str, example: Example, /) -> Verdict:
        """The verdict on one response; an empty one is never right.

        Raises:
            ObjectiveError: the example lacks a role, or the function gave neither a verdict nor
                a number in [0, 1].
        """
        self.check(example)
        if not response.strip():
            return Verdict(0.0, parsed=False)
        found = self.fn(response, example)
        if isinstance(found, Verdict):
            return found
        if isinstance(found, (bool, int, float)):
            return Verdict(float(found))
        raise ObjectiveError(
            f"metric {self.name} must give a number in [0, 1] or a Verdict, but gave "
            f"{type(found).__name__} for example {example.id}."
        )


_METRICS: dict[str, Metric] = {}
F = TypeVar("F", bound=Judge)


def metric(*, source: str, needs: tuple[str, ...] = ("answer",)) -> Callable[[F], F]:
    """Register the decorated function under its own name; the function itself is unchanged."""

    def register(fn: F) -> F:
        name = fn.__name__
        if name in _METRICS:
            raise ValueError(f"The metric {name!r} is already registered.")
        _METRICS[name] = Metric(name, fn, needs, _options(fn), source)
        return fn

    return register


def _options(fn: Judge) -> dict[str, Any]:
    return {
        parameter.name: parameter.default
        for parameter in inspect.signature(fn).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


@cache
def _discover() -> None:
    import objectives.metrics

    for module in pkgutil.iter_modules(objectives.metrics.__path__):
        importlib.import_module(f"objectives.metrics.{module.name}")


def all_metrics() -> list[Metric]:
    """Every metric, by name."""
    _discover()
    return [_METRICS[name] for name in sorted(_METRICS)]


def get_metric(name: str) -> Metric:
    """A metric by its name, or a user's own as `module:function`.

    Raises:
        ObjectiveError: there is none; the closest name is given, or what kept the import.
    """
    if ":" in name:
        return _imported(name)
    _discover()
    if name not in _METRICS:
        close = get_close_matches(name, _METRICS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        raise ObjectiveError(
            f"unknown metric {name!r}{hint} Known: {', '.join(sorted(_METRICS))}; your own is "
            "named as module:function."
        )
    return _METRICS[name]


def _imported(path: str) -> Metric:
    """A user's function `(response, example) -> number or Verdict`."""
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # anything may go wrong while a user's file runs
        raise ObjectiveError(
            f"metric {path}: the module {module_name!r} cannot be imported: "
            f"{type(error).__name__}: {error}. It must lie on PYTHONPATH or be installed."
        ) from None
    fn = getattr(module, attribute, None)
    if not callable(fn):
        held = sorted(n for n, v in vars(module).items() if callable(v) and n[0] != "_")
        raise ObjectiveError(
            f"metric {path}: {module_name} has no function {attribute!r}; it has "
            f"{', '.join(held) or 'none'}."
        )
    try:
        inspect.signature(fn).bind("response", "example")
    except (TypeError, ValueError) as error:
        raise ObjectiveError(
            f"metric {path}: it must take (response, example) and options with defaults, but: "
            f"{error}."
        ) from None
    return Metric(path, fn, (), _options(fn), path)
