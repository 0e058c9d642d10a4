"""The passes of one batch: prompts are captured once, then read once per candidate."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from objectives.batches import Batch, Entry
from objectives.continuation import Branch, enter
from objectives.errors import ObjectiveError
from objectives.heads import Head, find_head
from objectives.live_model import LiveModel
from objectives.plan import Plan
from objectives.prompt_store import PromptStore
from objectives.prompts import encode, mark_response, render, tokenizer_of, without_tails
from objectives.replay import DecoderCall, capture
from objectives.request import Reply, Request, Writing
from objectives.scoring import Measure, score_behind, score_whole
from objectives.writer import Job, Text, Writer


@dataclass(slots=True)
class Passes:
    """Runs batches on one live model.

    Attributes:
        store: captured decoder calls.
        writer: writes texts.
        identity: of all that stands before the decoder, for calls on disk.
    """

    store: PromptStore
    writer: Writer
    identity: str
    _head: Head | None = None

    def run(self, live: LiveModel, plan: Plan, batch: Batch) -> Iterator[tuple[Request, Reply]]:
        """Answers to all that is asked about the prompts of a batch."""
        if not plan.shared and any(entry.texts for entry in batch.entries):
            raise ObjectiveError(
                "texts are written behind a prompt that was read once, but this model gives other "
                "scores there than in a full forward pass; only scored responses can be used."
            )
        read = _Once(lambda: enter(live, self._call(live, plan, batch)))
        whole = [tuple(row for chunk in batch.chunks for row in chunk)] if batch.chunks else []
        for chunk in batch.chunks if plan.shared else whole:
            wants = [plan.wants[batch.entries[r.entry].prompt.key, r.response] for r in chunk]
            measure = Measure(
                reward=any("reward" in want for want in wants),
                log_probability=any("log_probability" in want for want in wants),
                head=lambda: self.head(live),
            )
            if plan.shared:
                replies = score_behind(live, read(), chunk, measure)
            else:
                replies = score_whole(live, self._call(live, plan, batch), chunk, measure)
            for row, want, reply in zip(chunk, wants, replies, strict=True):
                prompt = batch.entries[row.entry].prompt
                if "reward" in want:
                    told = Reply(score=reply.score, tokens=reply.tokens)
                    yield Request(prompt, "reward", row.response), told
                if "log_probability" in want:
                    told = Reply(log_probability=reply.log_probability, tokens=reply.tokens)
                    yield Request(prompt, "log_probability", row.response), told
        yield from self._texts(live, batch, read)

    def head(self, live: LiveModel) -> Head:
        """From hidden states to logits; found out once."""
        if self._head is None:
            self._head = find_head(live)
        return self._head

    def _texts(
        self, live: LiveModel, batch: Batch, read: Callable[[], Branch]
    ) -> Iterator[tuple[Request, Reply]]:
        groups: dict[Writing, list[int]] = {}
        for place, entry in enumerate(batch.entries):
            for text in entry.texts:
                groups.setdefault(text.writing, []).append(place)
        alone = [len(places) for places in groups.values()] == [len(batch.entries)]
        for writing, places in groups.items():
            entries = [batch.entries[place] for place in places]
            job = Job(
                writing=writing,
                prompts=[entry.prompt for entry in entries],
                ids=[entry.ids for entry in entries],
                allowed=[
                    next(text.allowed for text in entry.texts if text.writing == writing)
                    for entry in entries
                ],
                read=partial(_select, read, None if alone else places),
                head=lambda: self.head(live),
            )
            for entry, texts in zip(entries, self.writer.write(live, job), strict=True):
                yield Request(entry.prompt, "text", None, writing), _text_reply(texts)

    def _call(self, live: LiveModel, plan: Plan, batch: Batch) -> DecoderCall:
        key = hashlib.sha256(f"{self.identity}/{plan.shared}".encode())
        for entry in batch.entries:
            key.update(f"/{entry.prompt.key}/{entry.drop}/{entry.ids}".encode())
        make = self._prompts if plan.shared else self._whole
        return self.store.get(live, key.hexdigest(), lambda: make(live, batch.entries))

    def _prompts(self, live: LiveModel, entries: Sequence[Entry]) -> DecoderCall:
        texts = [render(live, entry.prompt) for entry in entries]
        inputs = encode(live, texts, [entry.prompt.images for entry in entries])
        pad = tokenizer_of(live).pad_token_id or 0
        return capture(live, without_tails(inputs, [entry.drop for entry in entries], pad))

    def _whole(self, live: LiveModel, entries: Sequence[Entry]) -> DecoderCall:
        texts = [render(live, entry.prompt, entry.responses[0][0]) for entry in entries]
        inputs = encode(live, texts, [entry.prompt.images for entry in entries])
        counts = [len(entry.responses[0][1].tokens) for entry in entries]
        return capture(live, mark_response(live, inputs, counts))


class _Once:
    """A function that runs when it is first called, and gives the same result from then on."""

    def __init__(self, make: Callable[[], Branch]) -> None:
        self._make = make
        self._made: Branch | None = None

    def __call__(self) -> Branch:
        if self._made is None:
            self._made = self._make()
        return self._made


def _select(read: Callable[[], Branch], places: Sequence[int] | None) -> Branch:
    """The given rows, to be gone on from; None hands over the branch itself, for its last use."""
    return read() if places is None else read().select(places)


def _text_reply(texts: Sequence[Text]) -> Reply:
    return Reply(
        tokens=max(text.tokens for text in texts),
        texts=tuple(text.text for text in texts),
        truncated=any(text.truncated for text in texts),
    )
