"""Solving, before a search begins, every task vector that its candidates will scale."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from merge_ops.plan import readable
from merge_ops.resident import ResidentModel
from merge_ops.solving import Solvable
from search.points import solutions
from studies.console import warn
from studies.setup import StudyFile
from studies.space_setup import make_space
from studies.voice import draws

_LINES = 10  # plain lines for all of it
_SHORT = 5.0  # seconds below which there is no line between the first and the last


def prepare(study: StudyFile, resident: ResidentModel) -> None:
    """Solve what the study's method wants solved, for each combination of its choices.

    The cost is printed first. A search over depth and its rival without share the solutions.

    Raises:
        UserError: a choice that does not fit the models.
    """
    recipes = solutions(make_space(study, resident.layers, resident.merged_names))
    if not recipes:
        return
    resident.prepare(recipes, Solving(study, len(recipes), resident.device))


@dataclass(slots=True)
class Solving:
    """Prints what solving costs and how far it is: a bar on a terminal, plain lines in a log.

    Attributes:
        study: gives method and choices, for the text.
        combinations: of the choices.
        device: where it happens.
    """

    study: StudyFile
    combinations: int
    device: torch.device
    _spent: dict[tuple[int, ...], list[float]] = field(default_factory=dict)

    def __call__(self, work: Sequence[Solvable]) -> Iterator[Solvable]:
        """Pass the work on, one task vector at a time, and time each."""
        warn(self._cost(work))
        shapes = len({one.shape for one in work})
        begun = shown = time.perf_counter()
        estimate = 0.0
        with _Bar(self._title(), len(work)) as bar:
            for done, one in enumerate(work, start=1):
                start = time.perf_counter()
                yield one
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)
                now = time.perf_counter()
                self._spent.setdefault(one.shape, []).append(now - start)
                left = self._left(work[done:])
                if done == shapes:
                    estimate = now - begun + left
                    bar.tell(f"{self._title()}: about {_clock(estimate)}, by one of each shape")
                due = done % max(1, len(work) // _LINES) == 0 and now - shown > _SHORT
                shown = now if due else shown
                line = f"{self._title()}: {done}/{len(work)} task vectors, {_clock(left)} left"
                bar.step(line, plain=due and done < len(work))
        spent = time.perf_counter() - begun
        warn(
            f"{self._title()}: {len(work)} task vectors in {_clock(spent)}, "
            f"estimated {_clock(estimate)}"
        )

    def _title(self) -> str:
        return f"{self.study.config.name}, solving {self._methods()}"

    def _methods(self) -> str:
        return ", ".join(op.name for op in self.study.methods() if op.traits.solve)

    def _cost(self, work: Sequence[Solvable]) -> str:
        """How many, of what, and the memory they take."""
        lists = [f"{name} ({len(values)})" for name, values in self.study.choices.items()]
        of = f" of {', '.join(lists)}" if self.combinations > 1 else ""
        combinations = "combination" if self.combinations == 1 else "combinations"
        tensors = len({one.job.name for one in work})
        size = readable(sum(one.size for one in work))
        return (
            f"{self._title()}: {self.combinations} {combinations}{of} x {tensors} tensors, kept "
            f"for all trials: {size} on {self.device}"
        )

    def _left(self, rest: Sequence[Solvable]) -> float:
        """Seconds, from the mean of what tensors of one shape took so far."""
        means = {shape: sum(spent) / len(spent) for shape, spent in self._spent.items()}
        return sum(means.get(one.shape, 0.0) for one in rest)


class _Bar:
    """A bar on a terminal; elsewhere the lines that are asked for."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "_Bar":
        if draws():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, text: str) -> None:
        """Print a line of its own."""
        if self._bar is None:
            warn(text)
        else:
            self._bar.console.print(text, highlight=False, markup=False)

    def step(self, line: str, *, plain: bool) -> None:
        """One more is done; the line is printed where there is no bar and `plain` asks for it."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=line.partition(", ")[2])
        elif plain:
            warn(line)


def _clock(seconds: float) -> str:
    """Minutes and seconds; below ten seconds with a decimal."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
