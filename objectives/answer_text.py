"""Where a response states its answer, and what the data holds as the right one."""

import re

from objectives.data import Example

_BRACE = re.compile(r"\\f?boxed\s*\{|[{}]")
_BARE_BOX = re.compile(r"\\boxed\s+(\S+)")
_STATED = re.compile(
    r"(?:\b(?:answers?|(?:correct|right|best)\s+(?:option|choice))\s*(?:is|are)\b\s*:?|\banswer\s*(?:\*\*)?\s*[:=]\s*(?:\*\*)?|####(?=\s*[-$]?[\d.,/]+\s*$))\s*",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"\n|(?<=[^\s.])[.!?](?=\s|$)|\*\*(?=\s|$|\.)")


def gold_answers(example: Example) -> tuple[str, ...]:
    """The right answers: any of them counts."""
    return tuple(example.lists.get("answers", ())) or (example.texts["answer"],)


def last_boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{}` whose braces close, or None."""
    opened: list[int | None] = []  # where each open brace's box begins; None for other braces
    found: tuple[int, int] | None = None
    for match in _BRACE.finditer(text):
        if match[0] != "}":
            opened.append(match.end() if match[0] != "{" else None)
        elif opened:
            start = opened.pop()
            if start is not None and (found is None or start > found[0]):
                found = (start, match.start())
    if found:
        return text[slice(*found)].strip()
    bare = _BARE_BOX.findall(text)
    return bare[-1].rstrip(".$") if bare else None


def last_stated(text: str) -> str | None:
    """What follows the last "answer is" or "Answer:", to the end of its sentence, or None.

    A phrase with nothing behind it on its line is followed to the next line that holds something.
    """
    places = [match.end() for match in _STATED.finditer(text)]
    for start in reversed(places):
        rest = text[start:].lstrip(" \n:*")
        sentence = _SENTENCE_END.split(rest, maxsplit=1)[0].strip(" *")
        if sentence:
            return sentence
    return None


def stated_answer(text: str) -> str | None:
    r"""The last `\boxed{}`, else the last "answer is"; None if there is neither."""
    boxed = last_boxed(text)
    return boxed or last_stated(text)
