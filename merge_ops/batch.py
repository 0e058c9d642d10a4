"""Kernel work that can wait until all of a candidate's is known."""

from dataclasses import dataclass, field

from merge_ops.expression import Kernel, Work


@dataclass(frozen=True, slots=True)
class Batch:
    """One call of each kernel for all of its work, where a call costs more than a small tensor."""

    _waiting: dict[Kernel, list[Work]] = field(default_factory=dict)

    def add(self, kernel: Kernel, work: Work) -> None:
        """Keep it until `run`."""
        self._waiting.setdefault(kernel, []).append(work)

    def run(self) -> None:
        """Do all that waits."""
        for kernel, works in self._waiting.items():
            kernel(works)
        self._waiting.clear()
