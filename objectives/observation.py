"""What a model's statistics are collected from: examples, each read to its gold answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.prompts import Inputs, answer_length, encode, render
from objectives.records import Split
from objectives.replay import head_logits


@dataclass(frozen=True, slots=True)
class Passage:
    """One conversation, from its beginning to the end of an answer.

    Attributes:
        inputs: what the model is called with; a batch of one, so that nothing is padded.
        answer: how many tokens at the end are the answer's, its end included.
    """

    inputs: Inputs
    answer: int


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

    def passages(self, live: LiveModel, example: Example, /) -> tuple[Passage, ...]:
        """What the model reads for one example."""
        ...

    def log_likelihood(
        self, live: LiveModel, passages: Sequence[Passage], hidden: Sequence[Tensor], /
    ) -> Tensor:
        """Log-likelihood of the gold answer, a scalar that can be differentiated.

        Args:
            live: gives the heads.
            passages: of the example.
            hidden: the decoder's last hidden states of each, (1, T, hidden size).
        """
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One example of one objective, ready to be read."""

    objective: Observable
    example: Example
    passages: tuple[Passage, ...]


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """At most `count` examples, evenly spread over the data, whatever its order."""
    taken = min(count, len(examples))
    return [examples[i * len(examples) // taken] for i in range(taken)]


def make_items(
    live: LiveModel, objectives: Iterable[Observable], split: Split, count: int
) -> list[Item]:
    """At most `count` examples of every objective, evenly spread over the split."""
    return [
        Item(objective, example, objective.passages(live, example))
        for objective in objectives
        for example in spread(objective.examples(split), count)
    ]


def make_passage(live: LiveModel, example: Example, answer: str, *, image: bool) -> Passage:
    """The conversation with `answer`, alone in its batch.

    Raises:
        ObjectiveError: the chat template leaves no token for the answer, or the processor pads.
    """
    inputs = encode(live, [render(live, example, answer, image=image)], [example], image=image)
    length = answer_length(live, example, answer)
    if length < 1:
        raise ObjectiveError(f"{example.id}: the chat template leaves no token for the answer.")
    if not bool(inputs["attention_mask"].all()):
        raise ObjectiveError(
            f"{example.id}: a text alone in its batch must not be padded, but is."
        )
    return Passage(inputs, length)


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


def answer_log_probabilities(live: LiveModel, passage: Passage, hidden: Tensor) -> Tensor:
    """Log-probability of each token of the answer: (answer,).

    Args:
        live: gives the output head.
        passage: what was read.
        hidden: its last hidden states, (1, T, hidden size).
    """
    logits = head_logits(live, hidden[0, -passage.answer - 1 : -1]).float()  # (answer, V)
    tokens = passage.inputs["input_ids"][0, -passage.answer :]
    found: Tensor = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    return found
