"""Which of the options a response chooses, and which is right."""

import re
from collections.abc import Iterator, Sequence
from string import ascii_uppercase

from objectives.answer_text import last_boxed, last_stated
from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.short_text import normal_form

LETTERS = tuple(ascii_uppercase[:10])
"""Of the options where a question states them in its text, not in the data."""
_LEADING = re.compile(
    r"(?:(?:option|choice|letter)\s+)?[(\[]?([A-Za-z])(?:[)\].:]+(?=\s|$|\*)|,?\s+(?:because|since|as|which)\b|\s*$)",
    re.IGNORECASE,
)
_SECOND = re.compile(r"\s*(?:or|and|/|&|,)\s*[(\[]?[A-Za-z][)\].:,]*(?=\s|$)", re.IGNORECASE)
_BRACKETED = re.compile(r"\(([A-Za-z])\)|\[([A-Z])\]")
_NAMED = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice)\s+\(?([A-Z])\b"
    r"|(?<!\w)([A-Z])\)?\s+is\s+(?:the\s+)?(?:correct|right|answer)"
)
_LISTED = re.compile(r"(?m)^\s*\(?([A-Z])[).:]\s")
_WRAPPINGS = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}|[*$`]")


def gold_letter(example: Example) -> str:
    """The right option's letter, where the data holds the letter or the option's text.

    Raises:
        ObjectiveError: the answer is neither.
    """
    options, answer = example.lists["options"], example.texts["answer"].strip()
    letters = ascii_uppercase[: len(options)]
    bare = answer.strip("().: ").upper()
    if len(bare) == 1 and bare in letters:
        return bare
    named = [i for i, option in enumerate(options) if normal_form(option) == normal_form(answer)]
    if len(named) != 1:
        raise ObjectiveError(
            f"{example.id}: the answer must be a letter up to {letters[-1:]} or the text of one "
            f"option, but is {answer!r} for the options {list(options)}."
        )
    return letters[named[0]]


def choose(response: str, options: Sequence[str]) -> str | None:
    """The letter of the option that a response chooses, or None.

    Tried in this order, and the first that finds anything decides: the last `boxed`, the last
    "answer is", the whole response, letters in brackets or named ("option B", "B is correct"),
    the text of one option anywhere. Several letters or options at one step are no choice.
    """
    for part in (last_boxed(response), last_stated(response), response):
        if part:
            found = _from_statement(_WRAPPINGS.sub(r"\1", part).strip(), options)
            if part is response and found and _others(response, found, options):
                return None
            if found is not None:
                return found or None
    for found_letters in (_letters(_BRACKETED, response), _letters(_NAMED, response)):
        valid = {letter for letter in found_letters if letter in ascii_uppercase[: len(options)]}
        if valid:
            return valid.pop() if len(valid) == 1 else None
    return _mentioned(response, options) or None


def _from_statement(text: str, options: Sequence[str]) -> str | None:
    """The letter a short statement begins with or whose option it is; "" if it names two."""
    letters = ascii_uppercase[: len(options)]
    same = [i for i, option in enumerate(options) if normal_form(option) == normal_form(text)]
    if len(same) == 1 and not (len(text) == 1 and text.upper() in letters):
        return letters[same[0]]
    first = re.match(r"[(\[]?([A-Za-z])[)\].:,]*", text)
    if first and _SECOND.match(text, first.end()):
        return ""
    leading = _LEADING.match(text)
    return leading[1].upper() if leading and leading[1].upper() in letters else None


def _others(response: str, letter: str, options: Sequence[str]) -> bool:
    """Whether the response goes on to other letters: it weighs or repeats the options."""
    listed = {*_letters(_BRACKETED, response), *_LISTED.findall(response)} - {letter}
    return not listed.isdisjoint(ascii_uppercase[: len(options)])


def _letters(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for groups in pattern.findall(text):
        yield next(group for group in groups if group).upper()


def _mentioned(response: str, options: Sequence[str]) -> str:
    """The letter of the only option whose text stands in the response, or ""."""
    rest, found = f" {normal_form(response)} ", []
    by_length = sorted(range(len(options)), key=lambda i: -len(normal_form(options[i])))
    for i in by_length:  # longest first, so that "dark red" is not also "red"
        words = f" {normal_form(options[i])} "
        if words.strip() and words in rest:
            found.append(ascii_uppercase[i])
            rest = rest.replace(words, " \0 ")
    return found[0] if len(found) == 1 else ""
