"""A row of little bars: how scores went over the trials, in one line of text."""

from collections.abc import Sequence

_BARS = {False: "▁▂▃▄▅▆▇█", True: ".:-=+*#@"}  # by whether the terminal knows ASCII alone


def columns_of(scores: Sequence[float | None], width: int) -> list[float | None]:
    """The score of each trial, or the best of as many as must share a column of the width."""
    count = min(width, len(scores))
    parts = [
        scores[i * len(scores) // count : (i + 1) * len(scores) // count] for i in range(count)
    ]
    return [max((s for s in part if s is not None), default=None) for part in parts]


def sparkline(columns: Sequence[float | None], *, ascii_only: bool = False) -> str:
    """A character for each column, from the lowest to the highest; blank where there is none."""
    known, bars = [c for c in columns if c is not None], _BARS[ascii_only]
    low, room = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    steps = [
        None if c is None else int((c - low) / room * len(bars)) if room else len(bars) // 2
        for c in columns
    ]
    return "".join(" " if s is None else bars[min(len(bars) - 1, s)] for s in steps)
