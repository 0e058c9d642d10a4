"""Numbers as people and LaTeX write them: fractions, roots, powers, units."""

import math
import re
from dataclasses import dataclass

from objectives.arithmetic import evaluate

_UNITS = {
    unit: names.split()[0]
    for names in (
        "deg degree degrees °", "rad radian radians", "mm millimeter millimeters",
        "cm centimeter centimeters", "m meter meters metre metres", "km kilometer kilometers",
        "in inch inches", "ft foot feet", "yd yard yards", "mi mile miles", "mg", "g gram grams",
        "kg kilogram kilograms", "lb pound pounds", "ms", "s sec second seconds",
        "min minute minutes", "h hr hour hours", "day days", "week weeks", "month months",
        "year years", "ml", "l liter liters litre litres", "newton newtons", "joule joules",
        "w watt watts", "v volt volts", "amp amps", "hz hertz", "pa", "ohm ohms", "dollar dollars",
        "cent cents", "unit units", "people person persons",
    )
    for unit in names.split()
}  # fmt: skip
_UNIT = re.compile(
    r"(?<=[\d)}\]°. i])\s*((?:square|sq\.?|cubic|cu\.?)\s+)?([a-z°]+)"
    r"(?:\s*\^?\s*\{?([23])\}?)?((?:/|\s+per\s+)[a-z]+(?:\^?\{?[23]\}?)?)?\s*$"
)
_REPLACED = (
    (r"\\(?:left|right|displaystyle|big|Big)(?![a-zA-Z])|\\[,;!: ()\[\]]|\\?\$|£|€", ""),
    (r"\\(?:text|mathrm|mathbf|textbf|rm|operatorname|unit)\s*\{([^{}]*)\}", r" \1 "),
    (r"\^\s*\{?\s*\\circ\s*\}?|\\degree|\\circ", "°"),
    (r"\\[dt]frac", r"\\frac"),
    (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
    (r"\\(?:times|cdot)|×|·", "*"),
    (r"\\div|÷", "/"),
    (r"−|–", "-"),
    (r"√\s*(\d+)", r"\\sqrt{\1}"),
    (r"π", r"\\pi "),
    (r"²", "^2"),
    (r"³", "^3"),
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    (r"\{,\}(?=\d)", ""),
    (r"\\?%", ""),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit.

    Attributes:
        value: always finite.
        unit: in one spelling ("cm^2"), or "" where none is written.
    """

    value: float
    unit: str = ""

    def agrees(self, other: "Quantity", tolerance: float) -> bool:
        """Whether the two are within a relative `tolerance`; two other units never agree."""
        if self.unit and other.unit and self.unit != other.unit:
            return False
        return math.isclose(self.value, other.value, rel_tol=tolerance, abs_tol=1e-9)


def plain_text(text: str) -> str:
    """LaTeX wrappings, currency and thousands' commas taken away; the letters' case stays."""
    for pattern, replacement in _REPLACED:
        text = re.sub(pattern, replacement, text)
    return " ".join(text.split()).rstrip(".")


def read_quantity(text: str) -> Quantity | None:
    """The number that the whole text stands for, or None if it is anything else.

    An equation stands for its right side ("x = 5"); percent signs are dropped.
    """
    plain = plain_text(text).rpartition("=")[2].strip()
    plain, unit = _without_unit(plain)
    value = evaluate(plain)
    return None if value is None else Quantity(value, unit)


def _without_unit(plain: str) -> tuple[str, str]:
    """The text in front of a known unit, and the unit."""
    found = _UNIT.search(plain.lower())
    if not found or found[2] not in _UNITS:
        return plain, ""
    shape, unit, power, per = found.groups()
    if shape:
        power = "2" if shape.startswith("s") else "3"
    name = _UNITS[unit] + (f"^{power}" if power else "")
    if per:
        below = re.sub(r"/|\s+per\s+|[{}]", "", per)
        letters = below.rstrip("^23")
        name += "/" + _UNITS.get(letters, letters) + ("^" + below[-1] if below[-1] in "23" else "")
    return plain[: found.start()].strip(), name
