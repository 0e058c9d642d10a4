"""Blocks: the fixed, stratified order in which the examples of a split are scored."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from objectives.data import Example
from objectives.objective import ModelObjective, Objective, RequestObjective
from objectives.records import Split
from objectives.request import Request


@dataclass(frozen=True, slots=True)
class Ask:
    """One example of one objective with its requests.

    Attributes:
        objective: its place among the objectives.
        example: what is asked about.
        requests: what the objective wants to know.
    """

    objective: int
    example: Example
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """What is scored at once; batches are formed inside a block, never across two.

    Attributes:
        split: of the examples.
        index: its place in the order.
        asks: examples with their requests; those of one prompt stand in one block.
        runs: an objective that runs the model itself on the whole split, or None.
    """

    split: Split
    index: int
    asks: tuple[Ask, ...]
    runs: int | None = None


def make_blocks(
    objectives: Sequence[Objective], split: Split, size: int, seed: int
) -> tuple[Block, ...]:
    """All blocks of a split; first those of examples, then the objectives that run by themselves.

    Examples whose first request has the same prompt are one item, whatever their objectives.
    Items are shuffled within each stratum (objectives and categories), and the strata spread
    evenly over the order, so that any number of first blocks represents the whole.

    Args:
        objectives: each of one of the two kinds.
        split: which examples.
        size: items per block.
        seed: of the shuffling.
    """
    items: dict[str, list[Ask]] = defaultdict(list)
    for place, objective in enumerate(objectives):
        if isinstance(objective, RequestObjective):
            for example in objective.examples(split):
                ask = Ask(place, example, objective.requests(example))
                items[_prompt(ask)].append(ask)
    order = _spread(items, seed)
    blocks = [
        Block(split, i, tuple(ask for key in order[start : start + size] for ask in items[key]))
        for i, start in enumerate(range(0, len(order), size))
    ]
    own = [i for i, o in enumerate(objectives) if isinstance(o, ModelObjective)]
    return (*blocks, *(Block(split, len(blocks) + i, (), place) for i, place in enumerate(own)))


def blocks_digest(objectives: Sequence[Objective], blocks: Sequence[Block]) -> str:
    """Sha256, in hex, of what is asked in which block: the same for equal plans only."""
    digest = hashlib.sha256()
    for objective in objectives:
        digest.update(f"{objective.name}\0".encode())
    for block in blocks:
        digest.update(f"\n{block.split} {block.runs}\0".encode())
        for ask in block.asks:
            asked = [(r.prompt.key, r.want, r.response, r.writing) for r in ask.requests]
            digest.update(f"{ask.objective} {ask.example.id} {asked}\0".encode())
    return digest.hexdigest()


def _prompt(ask: Ask) -> str:
    if ask.requests:
        return ask.requests[0].prompt.key
    return f"{ask.objective}/{ask.example.id}"


def _spread(items: dict[str, list[Ask]], seed: int) -> list[str]:
    """Keys of all items, the strata evenly spread."""
    strata: dict[tuple[tuple[int, str], ...], list[str]] = defaultdict(list)
    for key, asks in items.items():
        strata[tuple(sorted((a.objective, a.example.category) for a in asks))].append(key)
    placed = []
    for keys in strata.values():
        keys.sort(key=lambda key: _mix(key, seed))
        placed += [((i + 0.5) / len(keys), _mix(key, seed), key) for i, key in enumerate(keys)]
    return [key for _, _, key in sorted(placed)]


def _mix(key: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{key}".encode()).hexdigest()
