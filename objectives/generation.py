"""Generation: the model writes its answer, which must equal the gold one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from objectives.data import Example
from objectives.decoding import greedy, token_trie
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.observation import Passage, answer_log_probabilities, make_passage
from objectives.prompts import encode, render, tokenizer_of
from objectives.records import Average, ExampleScore, Split
from objectives.replay import DecoderCall, ReplayCache, capture

ROLES = ("answer",)
"""Text columns that the data must have beside id and question."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Exact match of a greedily written answer, ignoring case and the width of spaces.

    Attributes:
        data: the examples of each split.
        max_new_tokens: the longest answer, in tokens, its end included.
        image: show the image; without it only the question is asked.
        allowed: if not empty, the model can write nothing but one of these answers.
        batch_size: examples per forward pass.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    max_new_tokens: int = 16
    image: bool = True
    allowed: tuple[str, ...] = ()
    batch_size: int = 64
    cache: ReplayCache = field(default_factory=ReplayCache, compare=False)

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def score(self, live: LiveModel, split: Split) -> Iterator[Sequence[ExampleScore]]:
        """Yield 1 for a right answer and 0 for any other, batch by batch."""
        for example_batch, answers in self._answers(live, split):
            yield [
                ExampleScore(e.id, float(_normal(a) == _normal(e.texts["answer"])), e.category)
                for e, a in zip(example_batch, answers, strict=True)
            ]

    def answers(self, live: LiveModel, split: Split) -> dict[str, str]:
        """What the model writes, by example id."""
        return {
            example.id: answer
            for batch, answers in self._answers(live, split)
            for example, answer in zip(batch, answers, strict=True)
        }

    def passages(self, live: LiveModel, example: Example) -> tuple[Passage, ...]:
        """The gold answer behind the prompt."""
        return (make_passage(live, example, example.texts["answer"], image=self.image),)

    def log_likelihood(
        self, live: LiveModel, passages: Sequence[Passage], hidden: Sequence[Tensor]
    ) -> Tensor:
        """Log-probability of the gold answer, its end included."""
        return answer_log_probabilities(live, passages[0], hidden[0]).sum()

    def _answers(
        self, live: LiveModel, split: Split
    ) -> Iterator[tuple[Sequence[Example], list[str]]]:
        tokenizer = tokenizer_of(live)
        examples = self.examples(split)
        trie = token_trie(self._allowed_tokens(live, examples[0])) if self.allowed else None
        calls = self.cache.get(live, split, lambda: self._capture(live, examples))
        for start, call in zip(range(0, len(examples), self.batch_size), calls, strict=True):
            written = greedy(live, call, self.max_new_tokens, trie)
            texts = tokenizer.batch_decode(written, skip_special_tokens=True)
            yield examples[start : start + self.batch_size], texts

    def _capture(self, live: LiveModel, examples: Sequence[Example]) -> list[DecoderCall]:
        calls = []
        for start in range(0, len(examples), self.batch_size):
            batch = examples[start : start + self.batch_size]
            texts = [render(live, example, None, image=self.image) for example in batch]
            calls.append(capture(live, encode(live, texts, batch, image=self.image)))
        return calls

    def _allowed_tokens(self, live: LiveModel, example: Example) -> list[list[int]]:
        """Token ids of every allowed answer, its end included, as they follow a prompt."""
        tokenizer = tokenizer_of(live)

        def ids(text: str) -> list[int]:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        prompt = ids(render(live, example, None, image=False))
        found = []
        for answer in self.allowed:
            whole = ids(render(live, example, answer, image=False))
            if whole[: len(prompt)] != prompt or len(whole) == len(prompt):
                raise ObjectiveError(
                    f"{self.name}: the chat template must put the allowed answer {answer!r} "
                    "behind the prompt, but its tokens do not begin with the prompt's."
                )
            found.append(whole[len(prompt) :])
        return found


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
