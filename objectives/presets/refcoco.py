"""Boxes around what a phrase describes: RefCOCO, RefCOCO+ and RefCOCOg."""

from collections.abc import Iterator

from objectives.data import Example
from objectives.preset import Preset
from objectives.rows import Row
from objectives.rules import RowRule

_ASK = (
    "Bounding box coordinates are specified in the format (top-left x, top-left y, "
    "bottom-right x, bottom-right y). All values are floating point numbers bounded between 0 "
    "and 1. Please provide the bounding box coordinate of the region this sentence describes: "
)


def _refcoco(row: Row) -> Iterator[Example]:
    """One example for each phrase; boxes are [x, y, width, height] in pixels."""
    images = row.images("image")
    if len(images) != 1:
        raise row.bad("image", "must be one picture", row.value("image"))
    left, top, width, height = row.numbers("bbox", 4)
    if width <= 0 or height <= 0:
        raise row.bad("bbox", "must have a width and a height", row.value("bbox"))
    wide, high = images[0].size
    box = (left / wide, top / high, (left + width) / wide, (top + height) / high)
    name = row.text("question_id")
    phrases = (
        (row.text("answer"),) if isinstance(row.value("answer"), str) else row.texts("answer")
    )
    for i, phrase in enumerate(phrases):
        yield Example(
            id=name if len(phrases) == 1 else f"{name}-{i}",
            question=_ASK + row.plain("answer", phrase, images),
            images=images,
            texts={},
            category="all",
            numbers={"bbox": box},
        )


def _preset(name: str, source: str, citation: str) -> Preset:
    return Preset(
        name=name,
        source=source,
        kind="generation",
        metric="box_iou",
        rule=RowRule(("question_id", "image", "answer", "bbox"), (), _refcoco),
        citation=citation,
        settings={"max_new_tokens": 64},
        note="boxes are asked for, and kept, as shares of the picture's sides.",
    )


_KAZEMZADEH = "Kazemzadeh et al., ReferItGame, EMNLP 2014; Yu et al., arXiv:1608.00272"

PRESETS = (
    _preset("refcoco", "lmms-lab/RefCOCO:val", _KAZEMZADEH),
    _preset("refcoco_plus", "lmms-lab/RefCOCOplus:val", _KAZEMZADEH),
    _preset("refcocog", "lmms-lab/RefCOCOg:val", "Mao et al., arXiv:1511.02283"),
)
