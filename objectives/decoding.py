"""Writing token by token behind prompts that the decoder has read."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from objectives.continuation import Branch, go_on
from objectives.live_model import LiveModel
from objectives.prompts import tokenizer_of
from objectives.request import Writing
from objectives.writer import Job, Text

Trie = Mapping[int, "Trie"]
"""Allowed token sequences: each node maps a next token to the node behind it."""


def token_trie(sequences: Sequence[Sequence[int]]) -> Trie:
    """The trie of the given token sequences."""
    root: dict[int, Any] = {}
    for sequence in sequences:
        node = root
        for token in sequence:
            node = node.setdefault(token, {})
    return root


@dataclass(slots=True)
class _Draft:
    """One text on its way.

    Attributes:
        place: of its prompt and its vote.
        draws: random numbers of its own, so that no other text changes it; None takes none.
        node: where it stands among the allowed texts; None if all are allowed.
        tokens: what was written.
        text: the final text, once it has ended.
    """

    place: tuple[int, int]
    draws: random.Random | None
    node: Trie | None
    tokens: list[int] = field(default_factory=list)
    text: str | None = None


class ReplayWriter:
    """Writes from replayed prompts: several texts of a prompt share its one pass.

    Texts that have ended leave the batch as soon as they are half of it.
    """

    @torch.no_grad()
    def write(self, live: LiveModel, job: Job, /) -> list[tuple[Text, ...]]:
        """For each prompt its texts, one per vote."""
        writing = job.writing
        votes = writing.votes if writing.temperature > 0 else 1
        drafts = [
            _Draft(
                (row, vote),
                _draws(writing, prompt.key, vote),
                token_trie(job.allowed[row]) if writing.allowed else None,
            )
            for row, prompt in enumerate(job.prompts)
            for vote in range(votes)
        ]
        branch = job.read()
        if votes > 1:
            branch = branch.select([draft.place[0] for draft in drafts])
        self._run(live, job, branch, drafts)
        tokenizer = tokenizer_of(live)
        texts = [_finished(tokenizer, draft) for draft in drafts]
        repeats = writing.votes // votes
        return [
            tuple(texts[i * votes : (i + 1) * votes]) * repeats for i in range(len(job.prompts))
        ]

    def _run(self, live: LiveModel, job: Job, branch: Branch, drafts: list[_Draft]) -> None:
        """Write until every text has ended or is cut."""
        ends, project = end_tokens(live), job.head().project
        tokenizer = tokenizer_of(live)
        rows = list(drafts)
        logits = project(branch.last)  # (R, V)
        for step in range(job.writing.max_new_tokens):
            tokens = _choose(logits, rows, job.writing)
            for draft, token in zip(rows, tokens, strict=True):
                if draft.text is None:
                    _append(draft, token, ends, job.writing, tokenizer)
            still = [i for i, draft in enumerate(rows) if draft.text is None]
            if not still or step + 1 == job.writing.max_new_tokens:
                return
            if 2 * len(still) <= len(rows):
                branch = branch.select(still)
                rows, tokens = [rows[i] for i in still], [tokens[i] for i in still]
            new = torch.tensor(tokens, device=branch.mask.device)[:, None]
            logits = project(go_on(live, branch, new, torch.ones_like(new))[:, -1])


def _draws(writing: Writing, key: str, vote: int) -> random.Random | None:
    if writing.temperature == 0:
        return None
    return random.Random(f"{writing.seed}/{key}/{vote}")


def _append(draft: _Draft, token: int, ends: set[int], writing: Writing, tokenizer: Any) -> None:
    """Add a token to a text, and end the text where it ends."""
    if draft.node is not None:
        draft.node = draft.node[token]
    if token not in ends:
        draft.tokens.append(token)
    complete = writing.allowed and not draft.node
    if token in ends or complete:
        draft.text = _decode(tokenizer, draft.tokens)
    elif writing.stop:
        text = _decode(tokenizer, draft.tokens)
        found = [place for stop in writing.stop if (place := text.find(stop)) >= 0]
        if found:
            draft.text = text[: min(found)]


def _finished(tokenizer: Any, draft: _Draft) -> Text:
    text = _decode(tokenizer, draft.tokens) if draft.text is None else draft.text
    return Text(text, len(draft.tokens), truncated=draft.text is None)


def _decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=True))


def _choose(logits: Tensor, rows: Sequence[_Draft], writing: Writing) -> list[int]:
    """The next token of every row: the most likely one, or one drawn by the row's own numbers."""
    logits = _permitted(logits.float(), rows)
    if writing.temperature == 0:
        return logits.argmax(-1).tolist()
    shares = (logits / writing.temperature).softmax(-1).cumsum(-1)  # (R, V)
    drawn = [[draft.draws.random() if draft.draws else 0.0] for draft in rows]
    draws = torch.tensor(drawn, device=logits.device)
    places = torch.searchsorted(shares, draws * shares[:, -1:], right=True)[:, 0]
    return places.clamp(max=logits.shape[-1] - 1).tolist()


def _permitted(logits: Tensor, rows: Sequence[_Draft]) -> Tensor:
    """Logits with all but the allowed next tokens at minus infinity."""
    if all(draft.node is None for draft in rows):
        return logits
    closed = torch.full_like(logits, float("-inf"))
    for row, draft in enumerate(rows):
        tokens = torch.tensor(list(draft.node or ()) or [0], device=logits.device)
        closed[row, tokens] = logits[row, tokens]
    return closed


def end_tokens(live: LiveModel) -> set[int]:
    """Tokens that end an answer, from the model's generation config."""
    config = getattr(live.module, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    if ends is None:
        ends = tokenizer_of(live).eos_token_id
    return set(ends) if isinstance(ends, (list, tuple)) else {ends}
