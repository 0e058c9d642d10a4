"""The check of all shortcuts at once: first examples judged again from plain forward passes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, cast

import torch

from objectives.blocks import Ask
from objectives.engine import Engine
from objectives.evaluation import Evaluation
from objectives.live_model import LiveModel
from objectives.objective import Objective, RequestObjective
from objectives.out_of_memory import is_out_of_memory
from objectives.plain import plain_reply
from objectives.plan import make_plan
from objectives.records import Split
from objectives.request import Reply, Request
from objectives.settings import Budget, Settings

EXACT, COARSE = 8, 64
"""Examples that are checked of float32 models, and of others, in which rounding flips some."""

_MOVED = 0.01  # a graded score that moved by less is the same


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one objective's examples.

    Attributes:
        objective: its name.
        n: how many were judged twice.
        flipped: ids of those whose score differs by more than 0.01.
        largest: difference of a reward or log-probability, relative to 1 + its size; 0 where
            nothing but texts is asked for.
    """

    objective: str
    n: int
    flipped: tuple[str, ...]
    largest: float

    def record(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def self_check(
    live: LiveModel,
    objectives: Sequence[Objective],
    evaluation: Evaluation,
    split: Split = "selection",
    count: int | None = None,
) -> list[Checked]:
    """Judge the first examples of a split by the engine, and again without its shortcuts.

    Rewards and log-probabilities are taken again from one full forward pass per response: no
    captured prompt, no shared one, no batch, no padding. Texts are written again one by one.

    Args:
        live: the model as it is.
        objectives: those of the evaluation; objectives that run the model themselves have no
            shortcuts, and texts that are drawn at a temperature are not compared.
        evaluation: of these objectives on this model.
        split: whose first block is looked at.
        count: of examples at most; by default few in float32, where differences would be faults,
            and more in half precision, where they are rounding.
    """
    exact = next(live.module.parameters()).dtype in (torch.float32, torch.float64)
    count = count or (EXACT if exact else COARSE)
    alone = Engine(Settings(budget=Budget(device=0, memory=0)))
    alone.shared = True  # one row behind one prompt: nothing to prove
    found: dict[int, list[tuple[str, bool, float]]] = {}
    compared = (pair for pair in evaluation.replies(split) if not _is_drawn(pair[0]))
    for ask, told in islice(compared, count):
        objective = cast(RequestObjective, objectives[ask.objective])
        try:
            plain = [_alone(live, alone, request) for request in ask.requests]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break  # a plain pass takes more memory than the engine's
        ours, theirs = (objective.judge(ask.example, replies).value for replies in (told, plain))
        apart = max(map(_apart, told, plain), default=0.0)
        found.setdefault(ask.objective, []).append(
            (ask.example.id, abs(ours - theirs) > _MOVED, apart)
        )
    return [
        Checked(
            objectives[place].name,
            len(rows),
            tuple(name for name, flipped, _ in rows if flipped),
            max(apart for _, _, apart in rows),
        )
        for place, rows in sorted(found.items())
    ]


def _is_drawn(ask: Ask) -> bool:
    return any(r.writing is not None and r.writing.temperature > 0 for r in ask.requests)


def _alone(live: LiveModel, engine: Engine, request: Request) -> Reply:
    """A reply without what the engine's shortcuts could add to it."""
    if request.want != "text":
        return plain_reply(live, request)
    return engine.answer(live, make_plan(live, [request]))[request]


def _apart(ours: Reply, plain: Reply) -> float:
    """How far two replies are apart in numbers, relative to 1 + the second's size."""
    pairs = [(ours.score, plain.score), (ours.log_probability, plain.log_probability)]
    return max(
        (abs(a - b) / (1 + abs(b)) for a, b in pairs if a is not None and b is not None),
        default=0.0,
    )
