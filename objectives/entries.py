"""From requests to entries: each prompt once, with all that is asked about it, and its length."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from objectives.batches import Entry, Written
from objectives.live_model import LiveModel
from objectives.prompts import encode, render
from objectives.request import Prompt, Request, Writing
from objectives.tails import Tail, tails

_AT_ONCE = 16
"""Prompts whose images are prepared together, to learn how many tokens they become."""


def make_entries(live: LiveModel, requests: Iterable[Request]) -> list[Entry]:
    """One entry per prompt, in the order of the requests; equal requests stand once.

    A prompt that loses tokens for a response (see `tails`) stands twice if texts are written
    behind it, too.

    Raises:
        ObjectiveError: the chat template does not format a prompt or a response.
    """
    prompts: dict[str, Prompt] = {}
    responses: dict[str, dict[str, None]] = defaultdict(dict)
    writings: dict[str, dict[Writing, None]] = defaultdict(dict)
    for request in requests:
        key = request.prompt.key
        prompts.setdefault(key, request.prompt)
        if request.response is not None:
            responses[key][request.response] = None
        elif request.writing is not None:
            writings[key][request.writing] = None
    ids = _token_ids(live, list(prompts.values()))
    entries = []
    for (key, prompt), own in zip(prompts.items(), ids, strict=True):
        scored = tuple(responses[key])
        entries += _entries(live, prompt, own, scored, tuple(writings[key]))
    return entries


def _entries(
    live: LiveModel,
    prompt: Prompt,
    ids: Sequence[int],
    responses: tuple[str, ...],
    writings: tuple[Writing, ...],
) -> list[Entry]:
    """The entries of one prompt, by how many tokens it loses."""
    scored: dict[int, tuple[tuple[str, Tail], ...]] = {}
    written: dict[int, list[Written]] = defaultdict(list)
    if responses:
        drop, found = tails(live, prompt, responses)
        scored[drop] = tuple(zip(responses, found, strict=True))
    for writing in writings:
        drop, found = tails(live, prompt, writing.allowed) if writing.allowed else (0, [])
        written[drop].append(Written(writing, tuple(tail.tokens for tail in found)))
    return [
        Entry(prompt, drop, tuple(ids[: len(ids) - drop]), scored.get(drop, ()), tuple(texts))
        for drop in dict.fromkeys((*scored, *written))
        for texts in [written.get(drop, [])]
    ]


def whole_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Each response as a prompt of its own, for decoders that cannot go on behind a prompt."""
    found = []
    for entry in entries:
        if entry.texts:
            found.append(replace(entry, responses=()))
        for response, tail in entry.responses:
            ids = (*entry.ids, *tail.tokens)
            found.append(Entry(entry.prompt, 0, ids, ((response, tail),), ()))
    return found


def _token_ids(live: LiveModel, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Tokens of each prompt, its images included."""
    ids: dict[str, list[int]] = {}
    groups: Mapping[bool, list[Prompt]] = {
        pictured: [p for p in prompts if bool(p.images) == pictured] for pictured in (True, False)
    }
    for group in groups.values():
        for start in range(0, len(group), _AT_ONCE):
            part = group[start : start + _AT_ONCE]
            inputs = encode(live, [render(live, p) for p in part], [p.images for p in part])
            rows = zip(part, inputs["input_ids"], inputs["attention_mask"], strict=True)
            ids |= {prompt.key: row[mask.bool()].tolist() for prompt, row, mask in rows}
    return [ids[prompt.key] for prompt in prompts]
