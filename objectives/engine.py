"""The engine: answers requests on the live model, within its memory, and proves its shortcuts."""

from math import isfinite

import torch

from objectives.batches import Entry
from objectives.continuation import NoRuleError
from objectives.decoding import ReplayWriter
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.out_of_memory import free_memory, is_out_of_memory
from objectives.passes import Passes
from objectives.plain import plain_reply
from objectives.plan import Plan, make_plan
from objectives.prompt_store import PromptStore
from objectives.request import Reply, Request
from objectives.settings import Settings
from objectives.token_budget import ON_CPU, PROBE, CudaGauge, fitting_tokens
from objectives.writer import Writer

_EXACT, _COARSE = 3e-4, 0.1
"""How far a shared prompt may be from a full forward pass, relative to 1 + the value; in half
precision rounding alone comes near the second."""


class Engine:
    """Answers requests on one live model; shared by all evaluations of it.

    Attributes:
        settings: as given.
        store: captured decoder calls.
        tokens: of one pass at most, as found or halved so far; None before the first pass.
        shared: whether responses go on behind one prompt pass; None until it is proven.
    """

    def __init__(self, settings: Settings | None = None, writer: Writer | None = None) -> None:
        self.settings = settings or Settings()
        self.store = PromptStore(self.settings.budget, self.settings.report)
        self.tokens = self.settings.tokens
        self.shared: bool | None = None
        self._passes = Passes(self.store, writer or ReplayWriter(), self.settings.identity)

    def answer(self, live: LiveModel, plan: Plan) -> dict[Request, Reply]:
        """What the model, as it is now, says to all requests of a plan.

        A pass that does not fit into memory is halved, for good, and the block runs again.

        Raises:
            ObjectiveError: a single prompt does not fit, or the model lacks what is asked for.
        """
        self.store.follow(live)
        while True:
            try:
                self._prepare(live, plan)
                return {
                    request: reply
                    for batch in plan.batches
                    for request, reply in self._passes.run(live, plan, batch)
                }
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(plan, error)
            self.store.clear()
            free_memory(live.device)

    def _prepare(self, live: LiveModel, plan: Plan) -> None:
        """Find the budget and whether prompts can be shared, and cut the plan."""
        if self.tokens is None and live.device.type != "cuda":
            self.tokens = ON_CPU
        plan.cut(self.tokens or PROBE, shared=self.shared is not False)
        if self.shared is None and plan.entries:
            self.shared = self._proven(live, plan)
            plan.cut(self.tokens or PROBE, shared=self.shared is not False)
        if self.tokens is None and plan.batches:

            def run() -> None:
                list(self._passes.run(live, plan, plan.batches[0]))

            gauge = CudaGauge(live.device)
            self.tokens = fitting_tokens(gauge, run, plan.batches[0].largest())
            self.store.clear()
            plan.cut(self.tokens, shared=self.shared is not False)

    def _halve(self, plan: Plan, error: BaseException) -> None:
        """Halve the largest pass of a plan, and all later ones."""
        largest = max(batch.largest() for batch in plan.batches)
        if plan.is_smallest():
            raise ObjectiveError(
                f"one prompt with its response ({largest} tokens) does not fit into memory "
                f"({str(error).splitlines()[0]}); free memory, shorten prompts or shrink images."
            ) from None
        self.tokens = max(1, min(self.tokens or largest, largest) // 2)
        self.settings.report(f"out of memory: passes of at most {self.tokens} tokens from now on.")

    def _proven(self, live: LiveModel, plan: Plan) -> bool | None:
        """Whether responses behind shared, padded prompts get what full forward passes give.

        Tried on the shortest and the longest prompt; None if this candidate proves nothing.
        """
        order = sorted(plan.entries, key=lambda entry: len(entry.ids))
        requests = [_sample(plan, entry) for entry in (order[0], order[-1])]
        tried = make_plan(live, requests)
        tried.cut(2**30, shared=True)
        told: dict[Request, Reply] = {}
        try:
            for batch in tried.batches:
                told |= dict(self._passes.run(live, tried, batch))
        except NoRuleError as error:
            self._say(f"{error} has no rule")
            return False
        exact = next(live.module.parameters()).dtype in (torch.float32, torch.float64)
        for request in requests:
            ours, plain = _value(told[request]), _value(plain_reply(live, request))
            if not (isfinite(ours) and isfinite(plain)):
                return None
            if abs(ours - plain) > (_EXACT if exact else _COARSE) * (1 + abs(plain)):
                self._say(f"a response got {ours:.6g} where a full forward pass gives {plain:.6g}")
                return False
        return True

    def _say(self, why: str) -> None:
        self.settings.report(
            f"prompts are not shared between responses of this model: {why}. Each response is "
            "read from its beginning: slower, with the same scores."
        )


def _sample(plan: Plan, entry: Entry) -> Request:
    """Something that can be asked about a prompt: what is asked of it, or a word of our own."""
    if not entry.responses:
        return Request(entry.prompt, "log_probability", "yes")
    response = entry.responses[0][0]
    return Request(entry.prompt, min(plan.wants[entry.prompt.key, response]), response)


def _value(reply: Reply) -> float:
    value = reply.log_probability if reply.score is None else reply.score
    assert value is not None
    return value
