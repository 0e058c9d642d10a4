"""Referring expressions: whether the written box covers the right place."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.metric import metric
from objectives.verdict import UNPARSED, Verdict

Units = Literal["unit", "thousand", "pixels"]
"""Of written coordinates: shares of the image's sides, thousandths of them, or pixels."""
Corners = Literal["xywh", "xyxy"]
"""Of the data's boxes: left, top, width, height; or left, top, right, bottom."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_GROUP = re.compile(r"[\[(]([^\[\]()]*)[\])]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\.\d+")


@metric(source="RefCOCO: arXiv:1608.00272; Acc@0.5", needs=("bbox",))
def box_iou(
    response: str,
    example: Example,
    /,
    *,
    units: Units = "thousand",
    gold: Corners = "xywh",
    at_least: float = 0.5,
) -> Verdict:
    """1 if the intersection over union with the gold box is at least `at_least`, else 0.

    `units` are those of the response's left, top, right, bottom; `gold` says how the data's
    pixels in `bbox` are meant.

    Raises:
        ObjectiveError: the gold box has not four numbers; there is no image to tell pixels by.
    """
    box = read_box(response)
    if box is None:
        return UNPARSED
    return Verdict(float(iou(_in_pixels(box, example, units), _gold(example, gold)) >= at_least))


def read_box(text: str) -> Box | None:
    """The first four numbers in brackets: of one pair of brackets, else of two with a point each.

    Brackets that hold another count of numbers, such as "(1)", are passed over.
    """
    groups = [[float(n) for n in _NUMBER.findall(group)] for group in _GROUP.findall(text)]
    for group in groups:
        if len(group) == 4:
            return group[0], group[1], group[2], group[3]
    for first, second in pairwise(groups):
        if len(first) == len(second) == 2:
            return first[0], first[1], second[0], second[1]
    return None


def iou(a: Box, b: Box) -> float:
    """Intersection over union, in [0, 1]; 0 for a box without area or with its corners swapped."""
    shared = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = _area(a) + _area(b) - shared
    return min(1.0, shared / union) if union > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _gold(example: Example, corners: Corners) -> Box:
    numbers: Sequence[float] = example.numbers["bbox"]
    if len(numbers) != 4:
        raise ObjectiveError(f"{example.id}: bbox must hold four numbers, but holds {numbers}.")
    x, y, c, d = numbers
    return (x, y, x + c, y + d) if corners == "xywh" else (x, y, c, d)


def _in_pixels(box: Box, example: Example, units: Units) -> Box:
    if units == "pixels":
        return box
    if not example.images:
        raise ObjectiveError(f"{example.id}: boxes in {units} units need the image's size.")
    width, height = example.images[0].size
    whole = 1.0 if units == "unit" else 1000.0
    across, down = width / whole, height / whole
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down
