"""Multiple choice: MMMU, MMMU-Pro (standard and vision) and MMStar."""

import re
from collections.abc import Iterator

from objectives.data import Example
from objectives.preset import Preset
from objectives.rows import Row
from objectives.rules import RowRule

_IMAGES = tuple(f"image_{i}" for i in range(1, 8))
_LETTER = "Answer with the option's letter from the given choices directly."
_MMMU_PRO = "Yue et al., MMMU-Pro, arXiv:2409.02813"


def _mmmu_pro(row: Row) -> Iterator[Example]:
    images = row.images(*_IMAGES) or row.images("image")
    options = row.literal_texts("options")
    subject = row.optional("subject") or "all"
    yield Example(
        id=row.text("id"),
        question=row.question("question", images),
        images=images,
        texts={"answer": row.letter("answer", options)},
        category=subject,
        lists={"options": tuple(row.plain("options", option, images) for option in options)},
        groups={"difficulty": row.optional("topic_difficulty") or "unknown"},
    )


def _mmmu(row: Row) -> Iterator[Example]:
    """As MMMU-Pro, whose subject stands in the id here; some questions have no options."""
    images = row.images(*_IMAGES) or row.images("image")
    stated = row.value("options")
    options = () if stated in (None, "", "[]", []) else row.literal_texts("options")
    name = row.text("id")
    subject = "_".join(name.split("_")[1:-1])  # validation_Computer_Science_12
    yield Example(
        id=name,
        question=row.question("question", images),
        images=images,
        texts={"answer": row.letter("answer", options) if options else row.text("answer")},
        category=subject or "all",
        lists={"options": tuple(row.plain("options", option, images) for option in options)}
        if options
        else {},
        groups={"difficulty": row.optional("topic_difficulty") or "unknown"},
    )


def _mmmu_pro_vision(row: Row) -> Iterator[Example]:
    images = row.images("image")
    if not images:
        raise row.bad("image", "must be a picture that shows the question", row.value("image"))
    options = row.literal_texts("options")
    yield Example(
        id=row.text("id"),
        question="Answer the question in the image.",
        images=images,
        texts={"answer": row.letter("answer", options)},
        category=row.optional("subject") or "all",
        lists={"options": options},
    )


def _mmstar(row: Row) -> Iterator[Example]:
    """MMStar writes the options behind the question: "Options: A: a cat, B: a dog"."""
    images = row.images("image")
    text = row.question("question", images)
    question, options = split_options(text)
    if len(options) < 2:
        raise row.bad("question", "must end in options, as in 'Options: A: yes, B: no'", text)
    yield Example(
        id=row.optional("index") or row.numbered(),
        question=question,
        images=images,
        texts={"answer": row.letter("answer", options)},
        category=row.optional("category") or "all",
        lists={"options": options},
        groups={"l2_category": row.optional("l2_category") or "all"},
    )


def split_options(text: str, heading: str = "Options:") -> tuple[str, tuple[str, ...]]:
    """A question and the options, in the order of their letters, that stand behind it."""
    head, _, tail = text.rpartition(heading)
    if not head:
        head, tail = "", text
    starts: list[re.Match[str]] = []
    for found in re.finditer(r"(?:^|(?<=[\s,;]))\(?([A-Z])[:.)]\s*", tail):
        if found[1] == chr(ord("A") + len(starts)):
            starts.append(found)
    if not starts:
        return text, ()
    ends = [found.start() for found in starts[1:]] + [len(tail)]
    options = tuple(
        tail[found.end() : end].strip().rstrip(",;").strip()
        for found, end in zip(starts, ends, strict=True)
    )
    question = (head or tail[: starts[0].start()]).strip()
    return question, options


PRESETS = (
    Preset(
        name="mmmu",
        source="lmms-lab/MMMU:validation",
        kind="choice",
        metric="choice_letter",
        rule=RowRule(
            ("id", "question", "options", "answer"),
            (*_IMAGES, "image", "topic_difficulty"),
            _mmmu,
        ),
        citation="Yue et al., MMMU, arXiv:2311.16502",
        suffix=_LETTER,
        note="questions without options are left out and counted.",
    ),
    Preset(
        name="mmmu_pro",
        source="MMMU/MMMU_Pro:standard (10 options):test",
        kind="choice",
        metric="choice_letter",
        rule=RowRule(
            ("id", "question", "options", "answer"),
            (*_IMAGES, "image", "subject", "topic_difficulty"),
            _mmmu_pro,
        ),
        citation=_MMMU_PRO,
        suffix=_LETTER,
    ),
    Preset(
        name="mmmu_pro_vision",
        source="MMMU/MMMU_Pro:vision:test",
        kind="choice",
        metric="choice_letter",
        rule=RowRule(("id", "image", "options", "answer"), ("subject",), _mmmu_pro_vision),
        citation=_MMMU_PRO,
        suffix=_LETTER,
        settings={"list_options": False},
    ),
    Preset(
        name="mmstar",
        source="Lin-Chen/MMStar:val",
        kind="choice",
        metric="choice_letter",
        rule=RowRule(
            ("question", "image", "answer"), ("index", "category", "l2_category"), _mmstar
        ),
        citation="Chen et al., MMStar, arXiv:2403.20330",
        suffix=_LETTER,
        settings={"average": "macro", "categories": "l2_category"},
    ),
)
