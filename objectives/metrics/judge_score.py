"""The score from 1 to 5 that a model writes when it is asked to judge."""

import re

from objectives.answer_text import last_boxed
from objectives.data import Example
from objectives.metric import metric
from objectives.verdict import UNPARSED, Verdict

_LOWEST, _HIGHEST = 1.0, 5.0
_NUMBER = r"(?<![\w.\-])(\d+(?:\.\d+)?)(?![\w]|\.\d)"
_STATED = re.compile(
    rf"\b(?:score|rating|rate|grade|judge?ment)\b[^\d\n]{{0,40}}?{_NUMBER}", re.IGNORECASE
)
_DOUBLE_BRACKETS = re.compile(r"\[\[([^\[\]]*)\]\]")
_SCALE = re.compile(r"(?<![\d.])1\s*(?:-|–|to)\s*5(?![\d.]*\d)")  # the scale repeated, not a score
_OUT_OF = re.compile(rf"{_NUMBER}\s*(?:/|out of)\s*5(?![\d.]*\d)", re.IGNORECASE)


@metric(source="a model as judge: arXiv:2306.05685; on 1 to 5: arXiv:2502.13487", needs=())
def judge_score(response: str, _: Example, /) -> Verdict:
    """The written score, 1 to 0 and 5 to 1; anything outside or ambiguous is unparsed."""
    score = read_score(response)
    return UNPARSED if score is None else Verdict((score - _LOWEST) / (_HIGHEST - _LOWEST))


def read_score(text: str) -> float | None:
    """The score from 1 to 5: boxed or "[[4]]", else "4/5", else "score: 4", else the only number.

    Where one way of writing it occurs several times the last counts, but for the bare number.
    """
    boxed = last_boxed(text) or "".join(_DOUBLE_BRACKETS.findall(text)[-1:])
    if boxed:
        return _in_range(re.findall(_NUMBER, boxed.split("/")[0]))
    text = _SCALE.sub(" ", text)
    for pattern in (_OUT_OF, _STATED):
        found = pattern.findall(text)
        if found:
            return _in_range(found[-1:])
    return _in_range(re.findall(_NUMBER, text))


def _in_range(numbers: list[str]) -> float | None:
    """The only number, if there is one and it is a score."""
    if len(numbers) != 1 or not _LOWEST <= float(numbers[0]) <= _HIGHEST:
        return None
    return float(numbers[0])
