"""The value of an arithmetic expression in LaTeX; never Python's own evaluation."""

import math
import re

_LONGEST = 100  # characters; what is longer is a derivation, not an answer
_LARGEST_POWER = 64
_TOKEN = re.compile(
    r"\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d{1,3})?|\.\d+|\\frac|\\sqrt|sqrt|\\pi|pi(?![a-z])|[-+*/^(){}])"
)


def evaluate(text: str) -> float | None:
    r"""What the whole text comes to: numbers, + - * / ^, `\frac`, `\sqrt`, pi, brackets.

    None for anything else, for what is not finite, and for a root or power that is not real.
    """
    tokens = _tokens(text) if len(text) <= _LONGEST else []
    if not tokens:
        return None
    try:
        value = _Reader(tokens).whole()
    except (ValueError, ZeroDivisionError, OverflowError, RecursionError):
        return None
    return value if math.isfinite(value) else None


def _tokens(plain: str) -> list[str]:
    """All of the text as tokens, or none if any of it is something else."""
    tokens, place = [], 0
    while place < len(plain):
        match = _TOKEN.match(plain, place)
        if not match:
            return []
        tokens.append(match[1])
        place = match.end()
    return tokens


class _Reader:
    """Recursive descent over the tokens; every method takes what it reads off the front."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens[::-1]
        self.last_was_number = False

    def whole(self) -> float:
        value = self.sum()
        if self.tokens:
            raise ValueError(self.tokens)
        return value

    def next(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def take(self, wanted: str = "") -> str:
        if not self.tokens or (wanted and self.tokens[-1] != wanted):
            raise ValueError(wanted)
        return self.tokens.pop()

    def sum(self) -> float:
        value = self.product()
        while self.next() in ("+", "-"):
            value += self.product() if self.take() == "+" else -self.product()
        return value

    def product(self) -> float:
        value, number = self.power(), self.last_was_number
        while self.next() and self.next() not in "+-)}":
            if self.next() in ("*", "/"):
                value = value * self.power() if self.take() == "*" else value / self.power()
            elif self.next() == "\\frac" and number:  # a mixed number: 2\frac{1}{2}
                value += math.copysign(self.power(), value)
            elif self.next()[0].isdigit() or self.next()[0] == ".":
                raise ValueError("two numbers side by side")
            else:
                value *= self.power()
            number = False
        return value

    def power(self) -> float:
        sign = 1.0
        while self.next() in ("+", "-"):
            sign *= -1.0 if self.take() == "-" else 1.0
        value = self.atom()
        if self.next() == "^":
            self.take()
            exponent = self.power()
            self.last_was_number = False
            if abs(exponent) > _LARGEST_POWER:
                raise OverflowError
            value = value**exponent
            if isinstance(value, complex):
                raise ValueError("no real power")
        return sign * value

    def atom(self) -> float:
        token = self.take()
        self.last_was_number = token[0].isdigit()
        if self.last_was_number or token[0] == ".":
            return float(token)
        if token in ("\\pi", "pi"):
            return math.pi
        if token == "\\frac":
            value = self.group() / self.group()
        elif token in ("\\sqrt", "sqrt"):
            value = math.sqrt(self.atom())
        elif token in ("(", "{"):
            value = self.sum()
            self.take(")" if token == "(" else "}")
        else:
            raise ValueError(token)
        self.last_was_number = False
        return value

    def group(self) -> float:
        if self.next() not in ("{", "("):
            raise ValueError("braces are missing")
        return self.atom()
