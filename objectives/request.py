"""What an objective asks of a model, and what it is told: requests and replies, as plain data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from objectives.data import Example

if TYPE_CHECKING:
    from PIL.Image import Image

Want = Literal["reward", "log_probability", "text"]
Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says.

    Attributes:
        role: who speaks.
        text: what is said.
        images: how many images are shown before the text; turns take the prompt's in order.
    """

    role: Role
    text: str
    images: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that a model reads before it answers; made by `make_prompt`.

    Two prompts are equal when their content is: text and pixels, by digest.

    Attributes:
        turns: the conversation so far; a last turn of the assistant's is a beginning that the
            response continues.
        images: what is shown, RGB, in the order of the turns.
        key: digest of both.
    """

    turns: tuple[Turn, ...] = field(compare=False)
    images: tuple["Image", ...] = field(compare=False, repr=False)
    key: str


@dataclass(frozen=True, slots=True)
class Writing:
    """How a text is written.

    Attributes:
        max_new_tokens: where a text that does not end is cut.
        stop: the text ends before the first of these strings.
        allowed: if not empty, nothing but one of these texts can be written.
        votes: how many texts, each sampled on its own; with temperature 0 they are the same.
        temperature: 0 takes the most likely token; else tokens are sampled at this temperature.
        seed: of the sampling; the same seed, prompt and weights give the same texts.
    """

    max_new_tokens: int = 16
    stop: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    votes: int = 1
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to know about a prompt; equal requests are run once, whoever asks.

    Attributes:
        prompt: what the model reads.
        want: "reward" (score head at the end of the response), "log_probability" (of the response)
            or "text" (the model writes).
        response: what is scored; for "reward" and "log_probability".
        writing: for "text".
    """

    prompt: Prompt
    want: Want
    response: str | None = None
    writing: Writing | None = None

    def __post_init__(self) -> None:
        """Raises ValueError: a scored request has no response, or a written one no writing."""
        writes = self.want == "text"
        if writes != (self.response is None) or writes != (self.writing is not None):
            raise ValueError(
                f"a request for {self.want!r} needs {'writing' if writes else 'response'} and "
                f"nothing else, but has response {self.response!r} and writing {self.writing!r}."
            )


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model told.

    Attributes:
        score: the reward; None unless asked for.
        log_probability: summed over the response's tokens, its end included; None unless asked
            for.
        tokens: of the response, its end included; of the longest text for "text".
        texts: what was written: one, or one per vote.
        truncated: a text was cut at `max_new_tokens`.
    """

    score: float | None = None
    log_probability: float | None = None
    tokens: int = 0
    texts: tuple[str, ...] = ()
    truncated: bool = False


def make_prompt(turns: Sequence[Turn], images: Sequence["Image"] = ()) -> Prompt:
    """A prompt with its digest.

    Raises:
        ValueError: the turns do not show exactly the images given.
    """
    shown = sum(turn.images for turn in turns)
    if shown != len(images):
        raise ValueError(f"the turns must show all images, but show {shown} of {len(images)}.")
    digest = hashlib.sha256()
    for turn in turns:
        digest.update(f"{turn.role}\0{turn.images}\0{len(turn.text)}\0{turn.text}\0".encode())
    for image in images:
        digest.update(f"{image.mode}{image.size}".encode() + image.tobytes())
    return Prompt(tuple(turns), tuple(images), digest.hexdigest())


def question_prompt(example: Example, *, image: bool = True, text: str | None = None) -> Prompt:
    """The user shows an example's images and asks its question, or `text` in its place.

    Args:
        example: the question and its images.
        image: show the images, if there are any.
        text: what is asked instead of the question, such as the question with its options.
    """
    images = example.images if image else ()
    asked = example.question if text is None else text
    return make_prompt([Turn("user", asked, len(images))], images)
