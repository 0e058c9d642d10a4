"""Multiple choice: the option that the model finds likeliest, or the letter that it writes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Literal

from objectives.choice import gold_letter
from objectives.data import Example
from objectives.metrics.choice_letter import choice_letter
from objectives.records import Average, ExampleScore, Split
from objectives.request import Prompt, Reply, Request, Writing, question_prompt
from objectives.written import mishaps

if TYPE_CHECKING:
    from torch import Tensor

ChoiceMode = Literal["letter", "text", "written"]
"""letter, text: log-probability of each option's letter or text; written: the model answers."""
Normalise = Literal["sum", "token", "byte"]
"""What a log-probability is divided by: nothing, the response's tokens (its end is one), or its
bytes in UTF-8."""


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """Share of questions whose right option is chosen; an option that ties with it is a miss.

    Attributes:
        data: the examples of each split, with `options` and `answer`.
        mode: what the model is asked for.
        normalise: how options of different lengths are compared.
        list_options: write the options, lettered, behind a question that does not hold them yet.
        max_new_tokens: the longest written answer.
        image: show the images.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    average: Average = "micro"
    weight: float = 1.0
    mode: ChoiceMode = "letter"
    normalise: Normalise = "sum"
    list_options: bool = True
    max_new_tokens: int = 16
    image: bool = True

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def requests(self, example: Example) -> tuple[Request, ...]:
        """One per option behind the same prompt; or one written answer."""
        prompt = self._prompt(example)
        if self.mode == "written":
            return (Request(prompt, "text", writing=Writing(self.max_new_tokens)),)
        return tuple(
            Request(prompt, "log_probability", response) for response in self._responses(example)
        )

    def judge(self, example: Example, replies: Sequence[Reply]) -> ExampleScore:
        """1 if the right option is chosen; the margin is to the best wrong one."""
        if self.mode == "written":
            (text,) = replies[0].texts
            verdict = choice_letter(text, example)
            flags = mishaps(replies[0], verdict)
            return ExampleScore(example.id, verdict.value, example.category, flags)
        lengths = [len(response.encode()) for response in self._responses(example)]
        scores = [self._score(*pair) for pair in zip(replies, lengths, strict=True)]
        right = scores.pop(_gold(example))
        margin = right - max(scores)
        return ExampleScore(example.id, float(margin > 0), example.category, margin=margin)

    def gold(self, example: Example) -> tuple[Request, ...]:
        """The right option behind the prompt."""
        letter = self.mode != "text"
        response = gold_letter(example) if letter else example.lists["options"][_gold(example)]
        return (Request(self._prompt(example), "log_probability", response),)

    def log_likelihood(self, values: Sequence["Tensor"], tokens: Sequence[int]) -> "Tensor":  # noqa: ARG002
        """Log-probability of the right option, its end included."""
        return values[0]

    def _prompt(self, example: Example) -> Prompt:
        text = asked(example) if self.list_options else _with_suffix(example.question, example)
        return question_prompt(example, image=self.image, text=text)

    def _responses(self, example: Example) -> tuple[str, ...]:
        options = example.lists["options"]
        return options if self.mode == "text" else tuple(ascii_uppercase[: len(options)])

    def _score(self, reply: Reply, size: int) -> float:
        assert reply.log_probability is not None
        divisor = {"sum": 1, "token": reply.tokens, "byte": size}[self.normalise]
        return reply.log_probability / divisor


def asked(example: Example) -> str:
    """The question, its options as "A. text" unless it holds them already, and the suffix."""
    parts = [example.question]
    if not holds_options(example.question, example.lists["options"]):
        lettered = zip(ascii_uppercase, example.lists["options"], strict=False)
        parts += [f"{letter}. {option}" for letter, option in lettered]
    return _with_suffix("\n".join(parts), example)


def holds_options(question: str, options: Sequence[str]) -> bool:
    """Whether a question already writes every option behind its letter."""
    return all(
        re.search(rf"(?<!\w)\(?{letter}[.):]\s*{re.escape(option)}", question)
        for letter, option in zip(ascii_uppercase, options, strict=False)
    )


def _with_suffix(text: str, example: Example) -> str:
    suffix = example.texts.get("suffix")
    return f"{text}\n{suffix}" if suffix else text


def _gold(example: Example) -> int:
    return ascii_uppercase.index(gold_letter(example))
