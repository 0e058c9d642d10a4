"""VQA soft accuracy: how many of ten people gave the answer."""

from objectives.data import Example
from objectives.metric import metric
from objectives.verdict import Verdict
from objectives.vqa_text import vqa_normal_form


@metric(source="Antol et al., arXiv:1505.00468; TextVQA: arXiv:1904.08920", needs=("answers",))
def vqa_accuracy(response: str, example: Example, /) -> Verdict:
    """Mean over people left out of min(1, matches among the others / 3), in normal form."""
    ours = vqa_normal_form(response)
    same = [vqa_normal_form(answer) == ours for answer in example.lists["answers"]]
    matches = sum(same)
    shares = [min(1.0, (matches - own) / 3) for own in same]
    return Verdict(min(1.0, sum(shares) / len(shares)))
