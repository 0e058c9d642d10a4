"""Names to metrics: every module of objectives/metrics registers the function it holds."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, SupportsFloat, TypeVar

from objectives.data import Example
from objectives.errors import ObjectiveError, nearest
from objectives.user_function import Judge, import_judge
from objectives.verdict import UNPARSED, Verdict


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
            return UNPARSED
        found = self.fn(response, example)
        if isinstance(found, Verdict):
            return found
        if isinstance(found, SupportsFloat) and 0 <= float(found) <= 1:
            return Verdict(float(found))
        raise ObjectiveError(
            f"metric {self.name} must give a number in [0, 1] or a Verdict, but gave {found!r} "
            f"for example {example.id}."
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
        module, _, function = name.partition(":")
        fn = import_judge(module, function)
        return Metric(name, fn, (), _options(fn), name)
    _discover()
    if name not in _METRICS:
        hint = nearest(name, _METRICS) or "."
        raise ObjectiveError(
            f"unknown metric {name!r}{hint} Known: {', '.join(sorted(_METRICS))}; your own is "
            "named as module:function."
        )
    return _METRICS[name]
