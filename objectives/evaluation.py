"""Evaluations: objectives scored on a live model, block by block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Protocol, cast

from objectives.blocks import Ask, Block, blocks_digest, make_blocks
from objectives.engine import Engine
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.objective import ModelObjective, Objective, RequestObjective
from objectives.plan import Plan
from objectives.readable import readable_plan, unread
from objectives.records import ExampleScore, ScoreSet, Split
from objectives.request import Reply, Request

BlockScores = tuple[tuple[ExampleScore, ...], ...]
"""Scores of one block, by objective."""


class BlockStore(Protocol):
    """Keeps the blocks of one candidate, so that a scoring that was cut short goes on."""

    def get(self, index: int, /) -> BlockScores | None:
        """What a block got before; None if it must be scored now."""
        ...

    def put(self, index: int, scores: BlockScores, /) -> None:
        """Keep what a block got just now."""
        ...


class Evaluation:
    """Some objectives on one live model, candidate after candidate.

    What does not change between candidates is done once: requests, tokens, batches, and all that
    runs before the decoder. A block's scores do not depend on which blocks were scored before.
    """

    def __init__(
        self, live: LiveModel, objectives: Sequence[Objective], engine: Engine | None = None
    ) -> None:
        """Args: `engine` may serve several evaluations of the same live model."""
        self._live = live
        self._objectives = tuple(objectives)
        self._engine = engine or Engine()
        self._blocks: dict[Split, tuple[Block, ...]] = {}
        self._plans: dict[tuple[Split, int], Plan] = {}
        self._digests: dict[Split, str] = {}
        self._refused: dict[tuple[Split, int], frozenset[int]] = {}

    def blocks(self, split: Split) -> tuple[Block, ...]:
        """The blocks of a split in their fixed order; the first ones represent the whole."""
        if split not in self._blocks:
            settings = self._engine.settings
            made = make_blocks(self._objectives, split, settings.block, settings.seed)
            self._blocks[split] = made
        return self._blocks[split]

    def digest(self, split: Split) -> str:
        """Sha256, in hex, of what is asked in the blocks of a split."""
        if split not in self._digests:
            self._digests[split] = blocks_digest(self._objectives, self.blocks(split))
        return self._digests[split]

    def score(self, block: Block) -> BlockScores:
        """Scores of one block's examples, one tuple per objective, in the block's order.

        Raises:
            ObjectiveError: a score is not finite, with the example named; or the model lacks what
                an objective asks for.
        """
        found: list[list[ExampleScore]] = [[] for _ in self._objectives]
        if block.runs is not None:
            objective = self._objectives[block.runs]
            assert isinstance(objective, ModelObjective)
            for part in objective.score(self._live, block.split):
                found[block.runs] += part
        elif block.asks:
            replies = self._engine.answer(self._live, self._plan(block))
            for place, ask in enumerate(block.asks):
                refused = place in self._refused[block.split, block.index]
                score = unread(ask) if refused else self._judge(ask, replies)
                found[ask.objective].append(score)
        for objective, scores in zip(self._objectives, found, strict=True):
            for score in scores:
                if not isfinite(score.value):
                    raise ObjectiveError(
                        f"{objective.name}: {score.id}: its score is {score.value}."
                    )
        return tuple(map(tuple, found))

    def score_sets(
        self,
        split: Split,
        stops: Callable[[int, tuple[ScoreSet, ...]], bool] | None = None,
        store: BlockStore | None = None,
    ) -> tuple[ScoreSet, ...]:
        """The examples of a split, in the order of the data, one set per objective.

        Args:
            split: which examples.
            stops: told after each block but the last its index and all scores so far; if it says
                so, no further block is scored, and the sets hold what was.
            store: asked before a block is scored, and told after.
        """
        found: list[dict[str, ExampleScore]] = [{} for _ in self._objectives]
        blocks = self.blocks(split)
        for block in blocks:
            for own, scores in zip(found, self._kept(block, store), strict=True):
                own |= {score.id: score for score in scores}
            if stops and block is not blocks[-1] and stops(block.index, self._sets(split, found)):
                break
        return self._sets(split, found)

    def _kept(self, block: Block, store: BlockStore | None) -> BlockScores:
        """A block's scores, out of the store or into it."""
        if store is None:
            return self.score(block)
        scores = store.get(block.index)
        if scores is None:
            scores = self.score(block)
            store.put(block.index, scores)
        return scores

    def _sets(
        self, split: Split, found: Sequence[Mapping[str, ExampleScore]]
    ) -> tuple[ScoreSet, ...]:
        """What was scored, as sets."""
        return gathered(self._objectives, split, found)

    def replies(self, split: Split) -> Iterator[tuple[Ask, tuple[Reply, ...]]]:
        """What the model says to each readable example's requests, unjudged, block by block."""
        for block in self.blocks(split):
            if block.asks:
                told = self._engine.answer(self._live, self._plan(block))
                for place, ask in enumerate(block.asks):
                    if place not in self._refused[block.split, block.index]:
                        yield ask, tuple(told[request] for request in ask.requests)

    def record(self) -> dict[str, list[dict[str, Any]]]:
        """The batches of every block scored so far, by split."""
        record: dict[str, list[dict[str, Any]]] = {}
        for (split, index), plan in sorted(self._plans.items()):
            record.setdefault(split, []).append({"block": index, **plan.record()})
        return record

    def _plan(self, block: Block) -> Plan:
        key = (block.split, block.index)
        if key not in self._plans:
            report = self._engine.settings.report
            self._plans[key], self._refused[key] = readable_plan(self._live, block, report)
        return self._plans[key]

    def _judge(self, ask: Ask, replies: dict[Request, Reply]) -> ExampleScore:
        objective = cast(RequestObjective, self._objectives[ask.objective])
        own = [replies[request] for request in ask.requests]
        for reply in own:
            for value in (reply.score, reply.log_probability):
                if value is not None and not isfinite(value):
                    raise ObjectiveError(
                        f"{objective.name}: {ask.example.id}: its score is {value}."
                    )
        return objective.judge(ask.example, own)


def gathered(
    objectives: Sequence[Objective], split: Split, found: Sequence[Mapping[str, ExampleScore]]
) -> tuple[ScoreSet, ...]:
    """Scores by example id, one mapping per objective, as sets in the order of the data."""
    return tuple(
        ScoreSet(
            o.name,
            o.average,
            o.weight,
            tuple(own[e.id] for e in o.examples(split) if e.id in own),
        )
        for o, own in zip(objectives, found, strict=True)
    )


def score_all(
    objective: Objective, live: LiveModel, split: Split, engine: Engine | None = None
) -> ScoreSet:
    """Score every example of a split on the model as it is now."""
    return Evaluation(live, [objective], engine).score_sets(split)[0]
