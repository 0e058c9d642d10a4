"""Which of the options a response chooses, and which is right."""

import re
from collections.abc import Sequence
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
_FIRST = re.compile(r"[(\[]?([A-Za-z])[)\].:,]*(?=\s|$)")
_SECOND = re.compile(r"\s*(?:or|and|/|&|,)\s*[(\[]?[A-Za-z][)\].:,]*(?=\s|$)", re.IGNORECASE)
_BRACKETED = re.compile(r"\(([A-Za-z])\)|\[([A-Z])\]")
_NAMED = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+(?:is\s+)?\(?(A(?!\s+[a-z])|[B-Z])\b"
    r"|(?<!\w)([A-Z])\)?\s+is\s+(?:the\s+)?(?:correct|right|answer)"
)
_LISTED = re.compile(r"(?m)^\s*\(?([A-Z])[).:]\s")
_WRAPPINGS = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}|[*$`\"“”]")


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
    place = _option_of(answer, options)
    if place is None:
        raise ObjectiveError(
            f"{example.id}: the answer must be a letter up to {letters[-1:]} or the text of one "
            f"option, but is {answer!r} for the options {list(options)}."
        )
    return letters[place]


def choose(response: str, options: Sequence[str]) -> str | None:
    r"""The letter of the option that a response chooses, or None.

    What the last `\boxed{}` or else the last "answer is" holds decides; only a response with
    neither is read as a whole. There a letter in front decides (unless other options' letters
    follow), else the text of an option, else letters in brackets or named ("option B", "B is
    correct"), else the one option whose text occurs. Two letters or two options are no choice.
    """
    statements = [part for part in (last_boxed(response), last_stated(response)) if part]
    for statement in statements:
        found = _read(statement, options)
        if found is not None:
            return found or None
    if statements:
        return None
    found = _read(response, options)
    return None if not found or _others(response, found, options) else found


def _read(text: str, options: Sequence[str]) -> str | None:
    """The letter that a text chooses; "" if it names several, None if it names none."""
    text, letters = _WRAPPINGS.sub(r"\1", text).strip(), ascii_uppercase[: len(options)]
    first = _FIRST.match(text)
    if first and _SECOND.match(text, first.end()):
        return ""
    place = _option_of(text, options)
    if place is not None and text.upper() not in letters:
        return letters[place]
    leading = _LEADING.match(text)
    if leading and leading[1].upper() in letters:
        return leading[1].upper()
    for pattern in (_BRACKETED, _NAMED):
        found = _letters(pattern, text) & {*letters}
        if found:
            return found.pop() if len(found) == 1 else ""
    return _mentioned(text, options)


def _others(response: str, letter: str, options: Sequence[str]) -> bool:
    """Whether the response names other letters too: it weighs or repeats the options."""
    named = _letters(_BRACKETED, response) | _letters(_LISTED, response)
    return not (named - {letter}).isdisjoint(ascii_uppercase[: len(options)])


def _letters(pattern: re.Pattern[str], text: str) -> set[str]:
    """Capital letters that the pattern's groups caught."""
    return {next(filter(None, m.groups())).upper() for m in pattern.finditer(text)}


def _option_of(text: str, options: Sequence[str]) -> int | None:
    """Which option a text is: to the letter, or else in normal form; None unless just one."""
    for form in (str.strip, normal_form):
        same = [i for i, option in enumerate(options) if form(option) == form(text) != ""]
        if same:
            return same[0] if len(same) == 1 else None
    return None


def _mentioned(text: str, options: Sequence[str]) -> str | None:
    """The letter of the only option whose text occurs; "" if several do, None if none does."""
    rest, found = f" {normal_form(text)} ", []
    by_length = sorted(range(len(options)), key=lambda i: -len(normal_form(options[i])))
    for i in by_length:  # longest first, so that "dark red" is not also "red"
        words = f" {normal_form(options[i])} "
        if words.strip() and words in rest:
            found.append(ascii_uppercase[i])
            rest = rest.replace(words, " \0 ")
    if not found:
        return None
    return found[0] if len(found) == 1 else ""
