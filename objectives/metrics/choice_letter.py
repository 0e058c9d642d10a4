"""Choice questions: the letter of the chosen option."""

from objectives.choice import choose, gold_letter
from objectives.data import Example
from objectives.metric import metric
from objectives.verdict import UNPARSED, Verdict


@metric(source="MMMU-Pro: arXiv:2409.02813; MMStar: arXiv:2403.20330", needs=("answer", "options"))
def choice_letter(response: str, example: Example, /) -> Verdict:
    """1 if the chosen option is the gold one, else 0; none or several chosen is unparsed."""
    letter = choose(response, example.lists["options"])
    return UNPARSED if letter is None else Verdict(float(letter == gold_letter(example)))
