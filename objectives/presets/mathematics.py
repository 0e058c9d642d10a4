"""Reasoning about pictures: MathVista, MathVerse, MathVision, DynaMath, MM-Math."""

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from objectives.answer_text import last_boxed
from objectives.data import Example
from objectives.preset import Preset
from objectives.presets.choices import split_options
from objectives.rows import Row
from objectives.rules import RowRule

_BOXED = "Solve the problem step by step and put the final answer in \\boxed{}."
_IN_PICTURE = "Answer the question in the image."
_LONG = {"max_new_tokens": 1024}


def _mathvista(row: Row) -> Iterator[Example]:
    images = _pictures(row)
    options = row.literal_texts("choices") if row.value("choices") else ()
    answer = row.text("answer")
    if options and answer not in options:
        raise row.bad("answer", f"must be one of the {len(options)} choices", answer)
    texts = {name: row.optional(name) for name in ("unit", "question_type", "answer_type")}
    metadata = _mapping(row.value("metadata"))
    precision = row.number("precision") if row.value("precision") not in (None, "") else None
    yield Example(
        id=row.text("pid"),
        question=row.question("query", images),
        images=images,
        texts={"answer": answer, **{name: text for name, text in texts.items() if text}},
        category="math" if "math" in str(metadata.get("category", "")) else "general",
        lists={"options": options} if options else {},
        numbers={} if precision is None else {"precision": (precision,)},
        groups={"task": str(metadata.get("task") or "unknown")},
    )


def _mathverse(row: Row) -> Iterator[Example]:
    """Choices stand behind the question; of "Vision Only" both are in the picture alone."""
    images = _pictures(row)
    stated = row.optional("question")
    metadata = _mapping(row.value("metadata"))
    whole = stated or row.optional("question_for_eval") or ""
    options = split_options(whole, "Choices:")[1] if "Choices:" in whole else ()
    answer = row.text("answer")
    letter = answer.strip("().").upper()
    lettered = len(letter) == 1 and letter in ascii_uppercase[: len(options)]
    yield Example(
        id=row.optional("sample_index") or row.numbered(),
        question=row.question("question", images) if stated else _IN_PICTURE,
        images=images,
        texts={"answer": letter if lettered else answer},
        category=str(metadata.get("subject") or "all"),
        lists={"options": options} if lettered else {},
        groups={"level": row.optional("problem_version") or "unknown"},
    )


def _problem(row: Row) -> Iterator[Example]:
    """A problem with an answer, whatever its data set calls the columns."""
    images = _pictures(row)
    options = row.literal_texts("options") if row.value("options") else ()
    question = row.question("question", images)
    if options:
        lettered = (f"{chr(ord('A') + i)}. {option}" for i, option in enumerate(options))
        question = "\n".join([question, *lettered])
    metadata = _mapping(row.value("metadata"))
    subject = row.optional("subject") or metadata.get("subject") or "all"
    levels = (row.optional(n) for n in ("level", "knowledge_level"))
    names = (row.optional(n) for n in ("id", "file_name"))
    yield Example(
        id=next(filter(None, names), None) or row.numbered(),
        question=question,
        images=images,
        texts={"answer": row.letter("answer", options) if options else _answer(row)},
        category=str(subject),
        lists={"options": options} if options else {},
        groups={"level": next(filter(None, levels), None) or "unknown"},
    )


def _pictures(row: Row) -> Sequence[Any]:
    """Some of these data sets hold a path in `image` and the picture in `decoded_image`."""
    return row.images("decoded_image") or row.images("image")


def _answer(row: Row) -> str:
    """The answer, or what the solution boxes last."""
    for name in ("answer", "ground_truth"):
        if row.value(name) is not None:
            return row.text(name)
    solution = row.optional("solution")
    boxed = last_boxed(solution or "")
    if boxed is None:
        raise row.bad("answer", "must be non-empty text, or `solution` must box it", solution)
    return boxed


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _problems(name: str, source: str, citation: str, note: str = "") -> Preset:
    return Preset(
        name=name,
        source=source,
        kind="generation",
        metric="math_answer",
        rule=RowRule(("question",), _OPTIONAL, _problem),
        citation=citation,
        suffix=_BOXED,
        settings=_LONG,
        note=note,
    )


_OPTIONAL = (
    *("image", "decoded_image", "answer", "ground_truth", "solution", "options", "subject"),
    *("level", "knowledge_level", "metadata", "id", "file_name"),
)

PRESETS = (
    Preset(
        name="mathvista",
        source="AI4Math/MathVista:testmini",
        kind="generation",
        metric="math_answer",
        rule=RowRule(
            ("pid", "query", "answer"),
            (
                *("decoded_image", "image", "choices", "unit", "precision", "question_type"),
                *("answer_type", "metadata"),
            ),
            _mathvista,
        ),
        citation="Lu et al., MathVista, arXiv:2310.02255",
        settings=_LONG,
        note="its leaderboard extracts answers with a commercial judge: not comparable.",
    ),
    Preset(
        name="mathverse",
        source="AI4Math/MathVerse:testmini:testmini",
        kind="generation",
        metric="math_answer",
        rule=RowRule(
            ("question", "answer"),
            (
                *("image", "decoded_image", "question_for_eval", "metadata", "problem_version"),
                "sample_index",
            ),
            _mathverse,
        ),
        citation="Zhang et al., MathVerse, arXiv:2403.14624",
        suffix=_BOXED,
        settings={**_LONG, "list_options": False},
    ),
    _problems(
        "mathvision",
        "MathLLMs/MathVision:test",
        "Wang et al., MATH-Vision, arXiv:2402.14804",
    ),
    _problems(
        "dynamath",
        "DynaMath/DynaMath_Sample:sample_variant1",
        "Zou et al., DynaMath, arXiv:2411.00836",
        "the first of ten variants of the same 501 problems.",
    ),
    _problems(
        "mm_math",
        "THU-KEG/MM_Math:train",
        "Sun et al., MM-MATH, arXiv:2404.05091",
    ),
)
