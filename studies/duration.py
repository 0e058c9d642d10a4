"""Durations as people write them."""

import re

_TEN_YEARS = 10 * 366 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """A duration such as "90s", "30m", "8h" or "1d" in seconds.

    Raises:
        ValueError: the text is no duration, or none between a hundredth of a second and ten years.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([smhd])", text.strip())
    number = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0.01 <= number <= _TEN_YEARS:
        raise ValueError(f"a duration reads like 90s, 30m, 8h or 1d, but is {text[:80]!r}")
    return number
