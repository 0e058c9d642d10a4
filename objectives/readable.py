"""Which examples of a block the model's processor reads; the others score 0, and that is said."""

from collections.abc import Callable, Sequence

from objectives.blocks import Ask, Block
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.plan import Plan, make_plan
from objectives.records import ExampleScore


def readable_plan(
    live: LiveModel, block: Block, report: Callable[[str], None]
) -> tuple[Plan, frozenset[int]]:
    """The plan of a block, and the places of the asks that are left out of it.

    What a processor refuses it refuses for every candidate, so that comparisons stay fair.

    Args:
        live: the model.
        block: of examples.
        report: told of each example that is left out.

    Raises:
        ObjectiveError: less than half of the block can be read: the fault is not the examples'.
    """
    try:
        return _plan(live, block.asks), frozenset()
    except ObjectiveError:
        refused = _refused(live, block.asks)
        if not refused or 2 * len(refused) > len(block.asks):
            raise
        for place, why in refused.items():
            example = block.asks[place].example.id
            report(f"{block.split}: {example} scores 0 for every candidate: {why}")
        kept = [ask for place, ask in enumerate(block.asks) if place not in refused]
        return _plan(live, kept), frozenset(refused)


def unread(ask: Ask) -> ExampleScore:
    """What an example gets that cannot be read: no point, and a flag by which it is counted."""
    example = ask.example
    return ExampleScore(example.id, 0.0, example.category, ("undecodable",), margin=0.0)


def _plan(live: LiveModel, asks: Sequence[Ask]) -> Plan:
    return make_plan(live, [request for ask in asks for request in ask.requests])


def _refused(live: LiveModel, asks: Sequence[Ask]) -> dict[int, ObjectiveError]:
    """Places of asks that cannot be read even by themselves, and why."""
    found: dict[int, ObjectiveError] = {}
    for place, ask in enumerate(asks):
        try:
            _plan(live, [ask])
        except ObjectiveError as error:
            found[place] = error
    return found
