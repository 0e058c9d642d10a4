"""Several sampled responses per question, with the correctness of each."""

from collections.abc import Iterator, Sequence
from typing import Any

from objectives.data import Example
from objectives.preset import Preset
from objectives.rows import Row
from objectives.rules import RowRule

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def _best_of_n(row: Row) -> Iterator[Example]:
    name = row.text("id")
    responses = row.texts("responses")
    correctness = row.numbers("correctness", len(responses))
    if not all(0 <= value <= 1 for value in correctness):
        raise row.bad("correctness", "must be numbers in [0, 1]", correctness)
    images = row.images("image") or _image_by_id(row, name)
    yield Example(
        id=name,
        question=row.question("input", images),
        images=images,
        texts={},
        category=row.optional("category") or "all",
        lists={"responses": responses},
        numbers={"correctness": correctness},
    )


def _image_by_id(row: Row, name: str) -> Sequence[Any]:
    """The picture `images/ID.jpg` beside the data, if there is one."""
    for ending in _ENDINGS:
        path = row.folder / "images" / f"{name}{ending}"
        if path.is_file():
            return row.picture_file(path)
    return ()


PRESETS = (
    Preset(
        name="best_of_n",
        source="",
        kind="best_of_n",
        metric="best_of_n",
        rule=RowRule(
            ("id", "input", "responses", "correctness"), ("image", "category"), _best_of_n
        ),
        citation="released with arXiv:2502.13487 for TextVQA and others",
        note="your own JSON lines; pictures in a column `image`, or beside it as images/ID.jpg.",
    ),
)
