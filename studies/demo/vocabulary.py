"""Vocabulary of the zoo: one word, one token; the tokenizer and its chat template."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (1.0, 0.15, 0.15),
    "green": (0.15, 1.0, 0.15),
    "blue": (0.25, 0.35, 1.0),
    "white": (1.0, 1.0, 1.0),
}
COLOR_NAMES = tuple(COLORS)
PLACES = ("nw", "ne", "sw", "se")  # of the four cells, in reading order
NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
]
NUMBERS = tuple(str(number) for number in range(28))

JOINED = tuple(f"{color}-{digit}" for color in COLORS for digit in range(10))

PAD, BOS, EOS, UNKNOWN, IMAGE = "<pad>", "<bos>", "<eos>", "<unk>", "<image>"
SPECIAL_TOKENS = (PAD, BOS, EOS, UNKNOWN, IMAGE)
OTHER_WORDS = [
    "?",
    ".",
    "none",
    "digits",
    "colors",
    "places",
    "how",
    "many",
    "sum",
    "difference",
    "larger",
    "smaller",
    "plus",
    "equals",
    "is",
    "after",
    "comes",
    "before",
    "count",
    "and",
    "it",
    "the",
    "answer",
]

IMAGE_TOKENS = 4  # what one picture becomes: one token a cell
END_OF_SCENE = "."  # written after a scene, pictured or spelled out, before the question

# A picture renders as its tokens and the full stop that also ends a scene in words, so that
# "<image> ." and "red 3 blue 5 ." stand in the same place before the question.
CHAT_TEMPLATE = """\
{%- macro render(content) -%}
{%- if content is string -%}{{ ' ' + content }}
{%- else -%}
{%- for part in content -%}
{%- if part.type == 'image' -%}{{ ' <image> .' }}
{%- elif part.type == 'text' -%}{{ ' ' + part.text }}
{%- else -%}{{ raise_exception('only image and text parts are known, not ' + part.type) }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{{- bos_token -}}
{%- for message in messages -%}
{{- render(message.content) -}}
{%- if message.role == 'assistant' -%}{{ ' ' + eos_token }}{%- endif -%}
{%- endfor -%}
"""


@cache
def vocabulary() -> dict[str, int]:
    """The id of every word; the special tokens come first."""
    words = (
        *SPECIAL_TOKENS,
        *NUMBERS,
        *COLOR_NAMES,
        *PLACES,
        *NUMBER_WORDS,
        *JOINED,
        *OTHER_WORDS,
    )
    return {word: index for index, word in enumerate(words)}


def encode(words: Iterable[str]) -> list[int]:
    """The ids of words; a word that the zoo does not know raises KeyError."""
    ids = vocabulary()
    return [ids[word] for word in words]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The family's tokenizer: whitespace separates words, and each word is a token.

    The chat template writes `<bos>`, then each turn: an image part as `<image> .`, a text part
    as it is, an assistant's turn followed by `<eos>`. Nothing marks the start of an answer, so
    a prompt is the same with and without `add_generation_prompt`.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel(vocabulary(), unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        extra_special_tokens={"image_token": IMAGE},
        model_input_names=["input_ids", "attention_mask"],
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )
