"""What a model's statistics are collected from: examples, each read to its gold answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.heads import Head, find_head, reward_head
from objectives.live_model import LiveModel
from objectives.prompts import Inputs, encode, mark_response, render
from objectives.records import Split
from objectives.request import Request, Want
from objectives.tails import tails


@dataclass(frozen=True, slots=True)
class Passage:
    """One conversation, from its beginning to the end of an answer.

    Attributes:
        inputs: what the model is called with; a batch of one, so that nothing is padded.
        answer: how many tokens at the end are the answer's, its end included.
        want: what is to be known of the answer: "reward" or "log_probability".
    """

    inputs: Inputs
    answer: int
    want: Want


@runtime_checkable
class Observable(Protocol):
    """An objective that says how likely a model finds the gold answers."""

    @property
    def name(self) -> str:
        """As in the study."""
        ...

    def examples(self, split: Split, /) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        ...

    def gold(self, example: Example, /) -> tuple[Request, ...]:
        """What the model reads for one example: requests with responses."""
        ...

    def log_likelihood(self, values: Sequence[Tensor], tokens: Sequence[int], /) -> Tensor:
        """Log-likelihood of the gold answer, a scalar that can be differentiated.

        Args:
            values: the reward or summed log-probability of each response, scalars.
            tokens: how many tokens each has.
        """
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One example of one objective, ready to be read.

    Attributes:
        objective: whose example it is.
        example: the example.
        passages: what is read.
        head: from hidden states to logits.
    """

    objective: Observable
    example: Example
    passages: tuple[Passage, ...]
    head: Head

    def log_likelihood(self, live: LiveModel, hidden: Sequence[Tensor]) -> Tensor:
        """Log-likelihood of the gold answer from the last hidden states, (1, T, hidden size)."""
        values = [
            reward_head(live)(states[:, -1])[0, 0].float()
            if passage.want == "reward"
            else answer_log_probabilities(self.head, passage, states).sum()
            for passage, states in zip(self.passages, hidden, strict=True)
        ]
        return self.objective.log_likelihood(values, [p.answer for p in self.passages])


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """At most `count` examples, evenly spread over the data, whatever its order."""
    taken = min(count, len(examples))
    return [examples[i * len(examples) // taken] for i in range(taken)]


def make_items(
    live: LiveModel, objectives: Iterable[Observable], split: Split, count: int
) -> list[Item]:
    """At most `count` examples of every objective, evenly spread over the split."""
    head = find_head(live)
    return [
        Item(o, example, tuple(make_passage(live, r) for r in o.gold(example)), head)
        for o in objectives
        for example in spread(o.examples(split), count)
    ]


def make_passage(live: LiveModel, request: Request) -> Passage:
    """The conversation with the request's response, alone in its batch.

    Raises:
        ObjectiveError: the chat template leaves no token for the answer, or the processor pads.
    """
    assert request.response is not None
    prompt = request.prompt
    _, (tail,) = tails(live, prompt, [request.response])
    inputs = encode(live, [render(live, prompt, request.response)], [prompt.images])
    if not bool(inputs["attention_mask"].all()):
        raise ObjectiveError(
            f"a text alone in its batch must not be padded, but {prompt.turns[-1].text[:60]!r} is."
        )
    inputs = mark_response(live, inputs, [len(tail.tokens)])
    return Passage(inputs, tail.scored(), request.want)


class _Stop(Exception):  # noqa: N818 (not an error: it ends a forward pass behind the decoder)
    pass


def hidden_states(live: LiveModel, passage: Passage) -> Tensor:
    """The decoder's last hidden states, (1, T, hidden size), with their gradient."""
    caught: list[Tensor] = []

    def stop(_module: nn.Module, _args: Any, output: Any) -> None:
        caught.append(output.last_hidden_state)
        raise _Stop

    hook = live.decoder.register_forward_hook(stop)
    try:
        live.module(**passage.inputs, use_cache=False)
    except _Stop:
        pass
    finally:
        hook.remove()
    return caught[0].to(live.device)


def answer_log_probabilities(head: Head, passage: Passage, hidden: Tensor) -> Tensor:
    """Log-probability of each token of the answer: (answer,).

    Args:
        head: from hidden states to logits.
        passage: what was read.
        hidden: its last hidden states, (1, T, hidden size).
    """
    logits = head.project(hidden[0, -passage.answer - 1 : -1]).float()  # (answer, V)
    tokens = passage.inputs["input_ids"][0, -passage.answer :]
    found: Tensor = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    return found
