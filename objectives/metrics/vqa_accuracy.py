"""VQA soft accuracy: how many of ten people gave the answer."""

from functools import lru_cache

from objectives.data import Example
from objectives.metric import metric
from objectives.verdict import Verdict
from objectives.vqa_text import vqa_normal_form

_gold_form = lru_cache(maxsize=2**16)(vqa_normal_form)
"""The same people's answers are compared with every candidate's response."""


@metric(source="Antol et al., arXiv:1505.00468; TextVQA: arXiv:1904.08920", needs=("answers",))
def vqa_accuracy(response: str, example: Example, /) -> Verdict:
    """Mean over people left out of min(1, matches among the others / 3), in normal form."""
    ours = vqa_normal_form(response)
    same = [_gold_form(answer) == ours for answer in example.lists["answers"]]
    matches = sum(same)
    shares = [min(1.0, (matches - own) / 3) for own in same]
    return Verdict(min(1.0, sum(shares) / len(shares)))
