"""ChartQA's relaxed accuracy: numbers may be off by a twentieth."""

import re

from objectives.answer_text import gold_answers
from objectives.data import Example
from objectives.metric import metric
from objectives.verdict import Verdict

_NUMBER = re.compile(r"[-+]?(?=\.?\d)(?:\d+(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][-+]?\d{1,3})?")
_ROUNDING = 1e-9  # 1.05 must be within 5 % of 1, whatever binary fractions make of it


@metric(source="Masry et al., arXiv:2203.10244; Methani et al., arXiv:1909.00997")
def relaxed_accuracy(response: str, example: Example, /, *, tolerance: float = 0.05) -> Verdict:
    """1 if both are numbers within `tolerance` of the gold one, or equal ignoring case.

    "%" is read as a hundredth on either side, so 12 % is 0.12 and not 12.
    """
    golds = gold_answers(example)
    return Verdict(float(any(_agree(_tidy(response), _tidy(gold), tolerance) for gold in golds)))


def _agree(ours: str, gold: str, tolerance: float) -> bool:
    number, wanted = _number(ours), _number(gold)
    if number is None or wanted is None:
        return ours.casefold() == gold.casefold()
    return abs(number - wanted) <= (tolerance + _ROUNDING) * abs(wanted)


def _tidy(text: str) -> str:
    """Without spaces around it, a closing full stop, or a typographic minus."""
    return " ".join(text.split()).removesuffix(".").replace("\u2212", "-")


def _number(text: str) -> float | None:
    """A decimal number, or a hundredth of one before "%"; None for anything else."""
    plain = text.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(plain):
        return None
    value = float(plain.replace(",", ""))
    return value / 100 if text.endswith("%") else value
