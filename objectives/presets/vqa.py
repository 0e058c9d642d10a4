"""Short answers about pictures: TextVQA, VizWiz, ChartQA, GQA, OCR-VQA."""

from collections.abc import Iterator

from objectives.data import Example
from objectives.preset import Preset
from objectives.rows import Row
from objectives.rules import RowRule
from objectives.tables import Join

_BRIEF = "Answer the question using a single word or phrase."


def _ten_answers(row: Row) -> Iterator[Example]:
    images = row.images("image")
    yield Example(
        id=row.text("question_id"),
        question=row.question("question", images),
        images=images,
        texts={},
        category=row.optional("category") or "all",
        lists={"answers": row.texts("answers")},
    )


def _one_answer(row: Row) -> Iterator[Example]:
    images = row.images("image")
    if not images:
        raise row.bad("image", "must be a picture", row.value("image"))
    yield Example(
        id=row.optional("id") or row.optional("question_id") or row.numbered(),
        question=row.question("question", images),
        images=images,
        texts={"answer": row.text("answer")},
        category=(row.optional("type") or "all").removesuffix("_test").removesuffix("_val"),
    )


def _book_cover(row: Row) -> Iterator[Example]:
    """OCR-VQA keeps the questions about one picture in one row."""
    images = row.images("image")
    name = row.optional("image_id") or row.numbered()
    single = row.value("questions") is None
    questions = (row.text("question"),) if single else row.texts("questions")
    answers = (row.text("answer"),) if single else row.texts("answers")
    if len(questions) != len(answers):
        raise row.bad("answers", f"must be one for each of {len(questions)} questions", answers)
    for i, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        text = row.plain("questions", question, images)
        yield Example(f"{name}-{i}", text, images, {"answer": answer}, "all")


_TEN = RowRule(("image", "question_id", "question", "answers"), ("category",), _ten_answers)

PRESETS = (
    Preset(
        name="textvqa",
        source="lmms-lab/textvqa:validation",
        kind="generation",
        metric="vqa_accuracy",
        rule=_TEN,
        citation="Singh et al., TextVQA, arXiv:1904.08920",
        suffix=_BRIEF,
    ),
    Preset(
        name="vizwiz",
        source="lmms-lab/VizWiz-VQA:val",
        kind="generation",
        metric="vqa_accuracy",
        rule=_TEN,
        citation="Gurari et al., VizWiz, arXiv:1802.08218",
        suffix="When the provided information is insufficient, respond with 'Unanswerable'.\n"
        + _BRIEF,
    ),
    Preset(
        name="chartqa",
        source="lmms-lab/ChartQA:test",
        kind="generation",
        metric="relaxed_accuracy",
        rule=RowRule(("question", "answer", "image"), ("type", "id", "question_id"), _one_answer),
        citation="Masry et al., ChartQA, arXiv:2203.10244",
        suffix="Answer the question with a single word.",
    ),
    Preset(
        name="gqa",
        source="lmms-lab/GQA:testdev_balanced_instructions:testdev",
        kind="generation",
        metric="exact_match",
        rule=RowRule(
            ("question", "answer", "image"),
            ("id", "question_id", "imageId"),
            _one_answer,
            join=Join("testdev_balanced_images", key="id", by="imageId", column="image"),
        ),
        citation="Hudson and Manning, GQA, arXiv:1902.09506",
        suffix=_BRIEF,
    ),
    Preset(
        name="ocr_vqa",
        source="howard-hou/OCR-VQA:validation",
        kind="generation",
        metric="exact_match",
        rule=RowRule(
            ("image",), ("image_id", "questions", "answers", "question", "answer"), _book_cover
        ),
        citation="Mishra et al., OCR-VQA, ICDAR 2019",
        suffix=_BRIEF,
    ),
)
