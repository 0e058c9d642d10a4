"""Plans: what is asked in one block, and the batches in which it runs for every candidate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from objectives.batches import Batch, Entry, cut_batches
from objectives.entries import make_entries, whole_entries
from objectives.live_model import LiveModel
from objectives.request import Request, Want


@dataclass(slots=True)
class Plan:
    """One block's requests.

    Attributes:
        entries: what is asked, by prompt.
        wants: what is to be known of each response, by the prompt's key and the response.
        budget: tokens per pass for which `batches` were cut; 0 before the first cut.
        shared: whether responses go on behind one prompt pass.
        batches: what runs.
    """

    entries: Sequence[Entry]
    wants: dict[tuple[str, str], set[Want]]
    budget: int = 0
    shared: bool = True
    batches: tuple[Batch, ...] = ()

    def cut(self, budget: int, *, shared: bool) -> None:
        """Cut the entries into batches, unless they are already cut that way."""
        if (budget, shared) == (self.budget, self.shared):
            return
        self.budget, self.shared = budget, shared
        self.batches = cut_batches(self.entries if shared else whole_entries(self.entries), budget)

    def is_smallest(self) -> bool:
        """Whether no budget could make any pass smaller."""
        return all(
            len(batch.entries) == 1 and all(len(chunk) == 1 for chunk in batch.chunks)
            for batch in self.batches
        )

    def record(self) -> dict[str, Any]:
        """Shapes, for the study's record."""
        return {
            "tokens": self.budget,
            "shared_prompts": self.shared,
            "batches": [batch.record() for batch in self.batches],
        }


def make_plan(live: LiveModel, requests: Sequence[Request]) -> Plan:
    """Read how long prompts and responses are; nothing runs yet.

    Raises:
        ObjectiveError: the chat template does not format a prompt or a response.
    """
    wants: dict[tuple[str, str], set[Want]] = {}
    for request in requests:
        if request.response is not None:
            wants.setdefault((request.prompt.key, request.response), set()).add(request.want)
    return Plan(make_entries(live, requests), wants)
