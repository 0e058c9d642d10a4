"""Exact match of short answers in normal form."""

from objectives.answer_text import gold_answers
from objectives.data import Example
from objectives.metric import metric
from objectives.short_text import normal_form
from objectives.verdict import UNPARSED, Verdict


@metric(source="GQA: arXiv:1902.09506; OCR-VQA: Mishra et al., ICDAR 2019")
def exact_match(response: str, example: Example, /) -> Verdict:
    """1 if the response equals a gold answer in normal form, else 0."""
    ours = normal_form(response)
    if not ours:
        return UNPARSED
    return Verdict(float(any(normal_form(gold) == ours for gold in gold_answers(example))))
