"""Referring expressions: whether the written box covers the right place."""

import re
from itertools import pairwise
from typing import Literal

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.metric import metric
from objectives.verdict import UNPARSED, Verdict

Units = Literal["unit", "thousand", "pixels"]
"""Of coordinates: shares of the image's sides, thousandths of them, or pixels."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_GROUP = re.compile(r"[\[(]([^\[\]()]*)[\])]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\.\d+")


@metric(source="RefCOCO: Yu et al., arXiv:1608.00272", needs=("bbox",))
def box_iou(
    response: str,
    example: Example,
    /,
    *,
    units: Units = "unit",
    gold_units: Units = "unit",
    at_least: float = 0.5,
) -> Verdict:
    """1 if the intersection over union with the gold box is at least `at_least`, else 0.

    Both boxes are left, top, right, bottom; `units` are the response's, `gold_units` those of
    `bbox` in the data.

    Raises:
        ObjectiveError: the gold box has not four numbers, or there is no image to tell pixels by.
    """
    gold = example.numbers["bbox"]
    if len(gold) != 4:
        raise ObjectiveError(f"{example.id}: bbox must hold four numbers, but holds {gold}.")
    box = read_box(response)
    if box is None:
        return UNPARSED
    if units != gold_units:
        box = _shares(box, example, units)
        gold = _shares((gold[0], gold[1], gold[2], gold[3]), example, gold_units)
    overlap = iou(box, (gold[0], gold[1], gold[2], gold[3]))
    return Verdict(float(overlap >= at_least - 1e-9))  # a half is a half, however it was rounded


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


def _shares(box: Box, example: Example, units: Units) -> Box:
    """The box in shares of the image's sides."""
    if units == "unit":
        return box
    if units == "pixels" and not example.images:
        raise ObjectiveError(f"{example.id}: a box in pixels needs the image's size.")
    wide, high = (1000, 1000) if units == "thousand" else example.images[0].size
    return box[0] / wide, box[1] / high, box[2] / wide, box[3] / high
