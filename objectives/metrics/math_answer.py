"""The final answer of written reasoning: a number, a letter, or a text."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from string import ascii_uppercase

from objectives.answer_text import gold_answers, stated_answer
from objectives.choice import LETTERS, choose, gold_letter
from objectives.data import Example
from objectives.metric import metric
from objectives.quantity import Quantity, plain_text, read_quantity
from objectives.verdict import UNPARSED, Verdict

_LONGEST = 300  # characters; what is longer is a model that repeats itself
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w|\.\d)")
_ALGEBRA = re.compile(r"[\\^=+*/_{}]|\s-\s|\b[b-hj-zB-HJ-Z]\b")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


@metric(
    source="MathVista: arXiv:2310.02255; MathVerse: arXiv:2403.14624; MathVision: "
    "arXiv:2402.14804; DynaMath: arXiv:2411.00836; MM-Math: arXiv:2404.05091"
)
def math_answer(response: str, example: Example, /, *, tolerance: float = 1e-3) -> Verdict:
    r"""1 if the stated final answer is a gold one, else 0.

    The answer is what the last `\boxed{}` holds, else what follows the last "answer is", else the
    whole response if it is one line of up to six words, else the only number in its last line.
    With `options` in the data, or a gold answer from A to J, a letter is read instead. Numbers
    agree within a relative `tolerance` or, where the data states a `precision`, after rounding to
    its decimals; lists in brackets agree item by item; anything else must be the same text without
    spaces and LaTeX wrappings.
    """
    golds = gold_answers(example)
    decimals = example.numbers.get("precision", (None,))[0]
    same = partial(_same, tolerance=tolerance, decimals=decimals)
    answer = final_answer(response)
    options = example.lists.get("options") or ()
    if options or (len(golds) == 1 and golds[0].strip() in LETTERS):
        letter = choose(response, options or ("",) * len(LETTERS))
        if letter is None and answer is not None:
            letter = _equal_option(answer, options, same)
        gold = gold_letter(example) if options else golds[0].strip()
        return UNPARSED if letter is None else Verdict(float(letter == gold))
    if answer is None:
        return UNPARSED
    return Verdict(float(any(same(answer, gold) for gold in golds)))


def _equal_option(
    answer: str, options: Sequence[str], same: Callable[[str, str], bool]
) -> str | None:
    """The letter of the only option that the answer equals, as "6" does "6 cm"."""
    equal = [
        letter
        for letter, option in zip(ascii_uppercase, options, strict=False)
        if same(answer, option)
    ]
    return equal[0] if len(equal) == 1 else None


def final_answer(response: str) -> str | None:
    """The answer that a response states, or None; a very long one is none."""
    stated = stated_answer(response)
    if stated:
        return stated if len(stated) <= _LONGEST else None
    lines = [line.strip() for line in response.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0].split()) <= 6 and len(lines[0]) <= _LONGEST:
        return lines[0]
    numbers = _NUMBER.findall(lines[-1]) if lines else []
    return numbers[0] if len(numbers) == 1 else None


def _same(answer: str, gold: str, tolerance: float, decimals: float | None) -> bool:
    if _bare(answer) == _bare(gold):
        return True
    ours, wanted = _items(answer), _items(gold)
    if len(wanted) > 1 or len(ours) > 1:
        return len(ours) == len(wanted) and all(
            _same(a, b, tolerance, decimals) for a, b in zip(ours, wanted, strict=True)
        )
    right = read_quantity(gold)
    if right is None:
        return False
    number = read_quantity(answer) or _only_number(answer)
    return number is not None and _agree(number, right, tolerance, decimals)


def _agree(ours: Quantity, gold: Quantity, tolerance: float, decimals: float | None) -> bool:
    if ours.agrees(gold, tolerance):
        return True
    if decimals is None or not float(decimals).is_integer():
        return False
    places = int(decimals)
    rounded = Quantity(round(ours.value, places), ours.unit)
    return rounded.agrees(Quantity(round(gold.value, places), gold.unit), 1e-12)


def _only_number(answer: str) -> Quantity | None:
    """The number in a few words such as "12 because of symmetry", if there is just one."""
    plain = plain_text(answer)
    numbers = _NUMBER.findall(plain)
    return read_quantity(numbers[0]) if len(numbers) == 1 and not _ALGEBRA.search(plain) else None


def _bare(text: str) -> str:
    """Without LaTeX wrappings, spaces and case."""
    return re.sub(r"\\(?=[{}a-z])|\s", "", plain_text(text)).casefold()


def _items(text: str) -> list[str]:
    """The parts of a list in brackets; the whole text if it is none."""
    plain = plain_text(text)
    if len(plain) < 2 or _BRACKETS.get(plain[0]) != plain[-1]:
        return [text]
    parts, depth = [""], 0
    for character in plain[1:-1]:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if depth < 0:  # "(1)(2)": the outer brackets are not a pair
            return [text]
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
