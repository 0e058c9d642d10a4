"""Every kind of objective: what it asks, and how it judges replies written by hand."""

from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from merge_ops.resident import ResidentModel
from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.evaluation import score_all
from objectives.generation import Generation
from objectives.judging import Judge, read_pick
from objectives.likelihood import Likelihood
from objectives.metric import get_metric
from objectives.multiple_choice import MultipleChoice
from objectives.picking import Picking
from objectives.plain import plain_reply
from objectives.reading import read_examples
from objectives.request import Reply, Request, Writing
from objectives.smooth import smooth_scores
from objectives.user_objective import UserObjective

OPTIONS = ("one", "two", "three", "4")


def question(**changes: Any) -> Example:
    settings: dict[str, Any] = {
        "id": "q",
        "question": "How many ?",
        "images": (),
        "texts": {"answer": "B", "suffix": "Answer with the letter."},
        "category": "c",
        "lists": {"options": OPTIONS},
    }
    return Example(**{**settings, **changes})


def pair() -> Example:
    return question(texts={"chosen": "good", "rejected": "bad"}, lists={})


def text_of(request: Request) -> str:
    (turn,) = request.prompt.turns
    return turn.text


def logs(*values: float, tokens: int = 2) -> list[Reply]:
    return [Reply(log_probability=value, tokens=tokens) for value in values]


def wrote(*texts: str, truncated: bool = False) -> Reply:
    return Reply(texts=texts, tokens=3, truncated=truncated)


# multiple choice


def test_a_choice_shows_lettered_options_before_the_suffix_and_scores_letters() -> None:
    asks = MultipleChoice("m", {}).requests(question())
    assert text_of(asks[0]) == (
        "How many ?\nA. one\nB. two\nC. three\nD. 4\nAnswer with the letter."
    )
    assert [ask.response for ask in asks] == ["A", "B", "C", "D"]
    assert {ask.want for ask in asks} == {"log_probability"}
    assert len({ask.prompt.key for ask in asks}) == 1


def test_options_that_the_question_holds_are_not_listed_twice() -> None:
    held = question(question="How many ?\n(A) one (B) two\n(C) three (D) 4")
    assert text_of(MultipleChoice("m", {}).requests(held)[0]).count("three") == 1
    silent = MultipleChoice("m", {}, list_options=False)
    assert text_of(silent.requests(question())[0]) == "How many ?\nAnswer with the letter."


def test_option_texts_are_compared_by_sum_token_or_byte() -> None:
    replies = [
        Reply(log_probability=-3.0, tokens=1),  # per token -3, per byte ("one") -1
        Reply(log_probability=-4.0, tokens=2),  # per token -2, per byte ("two") -1.33
        Reply(log_probability=-4.5, tokens=3),  # per token -1.5, per byte ("three") -0.9
        Reply(log_probability=-9.0, tokens=3),
    ]
    for normalise, answer, margin in (
        ("sum", "one", 1.0),
        ("token", "three", 0.5),
        ("byte", "three", 0.1),
    ):
        choice = MultipleChoice("m", {}, mode="text", normalise=normalise)  # type: ignore[arg-type]
        example = question(texts={"answer": answer})
        assert [ask.response for ask in choice.requests(example)] == list(OPTIONS)
        score = choice.judge(example, replies)
        assert score.value == 1.0
        assert score.margin == pytest.approx(margin)


def test_a_tie_with_the_right_option_is_a_miss() -> None:
    score = MultipleChoice("m", {}).judge(question(), logs(-1, -1, -2, -3))
    assert (score.value, score.margin) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "value", "flags"),
    [
        ("B", 1.0, ()),
        ("The answer is (B).", 1.0, ()),
        ("two", 1.0, ()),
        ("C", 0.0, ()),
        ("I cannot say", 0.0, ("unparsed",)),
        ("", 0.0, ("unparsed", "empty")),
    ],
)
def test_a_written_letter_is_read_and_counted(
    text: str, value: float, flags: tuple[str, ...]
) -> None:
    choice = MultipleChoice("m", {}, mode="written")
    (ask,) = choice.requests(question())
    assert ask.want == "text"
    score = choice.judge(question(), [wrote(text)])
    assert (score.value, score.flags, score.margin) == (value, flags, None)


# best of N


def responses(*correctness: float) -> Example:
    lists = {"responses": tuple(f"r{i}" for i in range(len(correctness)))}
    return question(texts={}, lists=lists, numbers={"correctness": correctness})


def test_best_of_n_takes_the_top_scored_and_tells_the_rest_beside_it() -> None:
    first, second = responses(0.0, 1.0, 0.5), responses(0.3, 0.0, 0.0)
    picking = Picking("b", {"test": (first, second)})
    assert [ask.response for ask in picking.requests(first)] == ["r0", "r1", "r2"]
    replies = [Reply(score=s) for s in (0.1, 0.2, 0.9)]
    assert picking.judge(first, replies).value == 0.5
    beside = picking.beside("test")
    assert (beside.pass_at_1, beside.pass_at_n) == (0.15, 0.65)
    assert beside.random == beside.picked == pytest.approx(0.3)


def test_best_of_n_by_log_probability_is_per_token_and_by_a_judge_skips_the_unread() -> None:
    example = responses(0.0, 1.0)
    by_logs = Picking("b", {}, scorer="log_probability")
    long = [Reply(log_probability=-4.0, tokens=2), Reply(log_probability=-6.0, tokens=6)]
    assert by_logs.judge(example, long).value == 1.0
    judged = Picking("b", {}, scorer="judge")
    assert "Response: r1" in text_of(judged.requests(example)[1])
    assert judged.judge(example, [wrote("1"), wrote("5")]).value == 1.0
    unread = judged.judge(example, [wrote("no idea"), wrote("1")])
    assert (unread.value, unread.flags) == (1.0, ("unparsed",))
    assert judged.judge(example, [wrote("?"), wrote("?")]).value == 0.5  # by lot


# generation


def test_a_generation_is_judged_by_its_metric_with_options() -> None:
    example = question(texts={"answer": "100"}, lists={})
    relaxed = get_metric("relaxed_accuracy")
    asked = Generation(
        "g", {}, metric=relaxed, prompt="{question} Think {step} by step, then answer."
    )
    assert text_of(asked.requests(example)[0]) == "How many ? Think {step} by step, then answer."
    assert asked.judge(example, [wrote("104")]).value == 1.0
    strict = Generation("g", {}, metric=relaxed.with_options({"tolerance": 0.01}))
    assert strict.judge(example, [wrote("104")]).value == 0.0


def test_people_s_answers_are_graded_and_the_commonest_is_the_gold_one() -> None:
    example = question(texts={}, lists={"answers": ("red",) * 2 + ("blue",) * 8})
    graded = Generation("g", {}, metric=get_metric("vqa_accuracy"))
    assert graded.judge(example, [wrote("red")]).value == pytest.approx(0.6)
    assert graded.gold(example)[0].response == "blue"


def test_an_answer_without_one_is_flagged_as_unparsed() -> None:
    example = question(texts={"answer": "7"}, lists={})
    generation = Generation("g", {}, metric=get_metric("math_answer"))
    long = "Let us first look at all the objects in the picture and then count the rest of them"
    score = generation.judge(example, [wrote(long, truncated=True)])
    assert score.flags == ("unparsed", "truncated")


# likelihood


def test_the_likelihood_is_a_probability_and_its_margin_is_to_the_likeliest_distractor() -> None:
    example = question(texts={"answer": "two"}, lists={"distractors": ("one", "three")})
    token = Likelihood("l", {})
    assert [ask.response for ask in token.requests(example)] == ["two", "one", "three"]
    replies = logs(2 * log(0.5), 2 * log(0.25), 2 * log(0.1))
    score = token.judge(example, replies)
    assert score.value == pytest.approx(0.5)
    assert score.margin == pytest.approx(log(2))
    whole = Likelihood("l", {}, transform="sequence").judge(example, replies)
    assert whole.value == pytest.approx(0.25)
    assert whole.margin == pytest.approx(2 * log(2))
    alone = token.judge(question(texts={"answer": "two"}, lists={}), replies[:1])
    assert alone.margin is None


# judge


def test_a_judge_scores_each_response_and_votes_are_averaged() -> None:
    judge = Judge("j", {}, writing=Writing(8, votes=2, temperature=1.0, seed=3))
    chosen, rejected = judge.requests(pair())
    assert "Response: good" in text_of(chosen)
    assert "Response: bad" in text_of(rejected)
    assert chosen.writing == Writing(8, votes=2, temperature=1.0, seed=3)
    won = judge.judge(pair(), [wrote("5", "4"), wrote("4", "4")])
    assert (won.value, won.margin, won.flags) == (1.0, 0.5, ())
    tied = judge.judge(pair(), [wrote("4", "4"), wrote("4", "4")])
    assert (tied.value, tied.margin) == (0.0, 0.0)
    partly = judge.judge(pair(), [wrote("5", "fine"), wrote("1", "1")])
    assert (partly.value, partly.flags) == (1.0, ("unparsed",))
    unread = judge.judge(pair(), [wrote("good", "fine"), wrote("1", "1")])
    assert (unread.value, unread.margin, unread.flags) == (0.0, 0.0, ("unparsed",))


def test_a_judge_that_always_likes_the_first_place_wins_no_pair() -> None:
    judge = Judge("j", {}, mode="pick")
    ours, swapped = judge.requests(pair())
    assert "Response A: good\n\nResponse B: bad" in text_of(ours)
    assert "Response A: bad\n\nResponse B: good" in text_of(swapped)
    assert judge.judge(pair(), [wrote("A"), wrote("A")]).value == 0.0
    assert judge.judge(pair(), [wrote("A"), wrote("B")]).value == 1.0
    assert judge.judge(pair(), [wrote("B"), wrote("A")]).margin == -1.0
    assert judge.judge(pair(), [wrote("A"), wrote("neither")]).flags == ("unparsed",)


def test_braces_in_a_response_are_left_alone() -> None:
    example = question(texts={"chosen": "{question} {0}", "rejected": "bad"}, lists={})
    assert "Response: {question} {0}" in text_of(Judge("j", {}).requests(example)[0])


@pytest.mark.parametrize(
    ("text", "found"),
    [("A", "A"), ("[[B]]", "B"), ("Response B.", "B"), ("(A)", "A"), ("A or B", None), ("", None)],
)
def test_a_picked_letter_is_read(text: str, found: str | None) -> None:
    assert read_pick(text) == found


# a user's function


def shout(_live: object, examples: Sequence[Example]) -> dict[str, float]:
    return {example.id: float(not example.images) for example in examples}


def test_a_function_scores_the_examples_by_id() -> None:
    pictured = question(images=(Image.new("RGB", (2, 2)),))
    mine = UserObjective("u", {"test": (question(),)}, shout, "tests:shout")
    assert [s.value for part in mine.score(None, "test") for s in part] == [1.0]  # type: ignore[arg-type]
    for image, value in ((True, 0.0), (False, 1.0)):
        shown = UserObjective("u", {"test": (pictured,)}, shout, "tests:shout", image=image)
        assert [s.value for part in shown.score(None, "test") for s in part] == [value]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0], "must give a mapping"),
        ({}, "gave None for q"),
        ({"q": 2.0}, "gave 2.0 for q"),
        ({"q": "high"}, "gave 'high' for q"),
        ({"q": float("nan")}, "gave nan for q"),
    ],
)
def test_what_is_no_score_is_refused(given: object, message: str) -> None:
    mine = UserObjective("u", {"test": (question(),)}, lambda _live, _examples: given, "tests:f")
    with pytest.raises(ObjectiveError, match=message):
        list(mine.score(None, "test"))  # type: ignore[arg-type]


def test_a_function_that_fails_is_named() -> None:
    def fails(_live: object, _examples: object) -> None:
        raise KeyError("x")

    mine = UserObjective("u", {"test": (question(),)}, fails, "tests:fails")
    with pytest.raises(ObjectiveError, match="u: tests:fails failed on test: KeyError"):
        list(mine.score(None, "test"))  # type: ignore[arg-type]


# on the zoo, against one full forward pass per response


@pytest.fixture(scope="module")
def counted(demo_folder: Path) -> tuple[Example, ...]:
    """Questions of the demo with four numbers to choose from."""
    source = str(demo_folder / "data" / "perception-test.parquet")
    found = []
    for example in read_examples(source, ("answer",), {}, 30):
        answer = example.texts["answer"]
        others = [text for text in ("red", "1", "2", "3", "blue") if text != answer][:3]
        lists = {
            "options": (others[0], answer, *others[1:]),
            "responses": (answer, *others),
            "distractors": tuple(others),
        }
        numbers = {"correctness": (1.0, 0.0, 0.0, 0.5)}
        found.append(
            question(
                id=example.id,
                question=example.question,
                images=example.images,
                texts={"answer": answer},
                lists=lists,
                numbers=numbers,
            )
        )
    return tuple(found)


@pytest.mark.parametrize("kind", ["letter", "text", "best_of_n", "likelihood"])
def test_scores_equal_one_by_one_forward_passes(
    live: ResidentModel, counted: tuple[Example, ...], kind: str
) -> None:
    data: Any = {"test": counted}
    objectives: dict[str, Any] = {
        "letter": MultipleChoice("o", data, list_options=False),
        "text": MultipleChoice("o", data, mode="text", normalise="byte", list_options=False),
        "best_of_n": Picking("o", data),
        "likelihood": Likelihood("o", data),
    }
    objective = objectives[kind]
    scores = score_all(objective, live, "test")
    for score, example in zip(scores.scores, counted, strict=True):
        plain = [plain_reply(live, request) for request in objective.requests(example)]
        expected = objective.judge(example, plain)
        assert score.value == pytest.approx(expected.value, abs=1e-5)
        assert score.margin == (
            None if expected.margin is None else pytest.approx(expected.margin, abs=1e-4)
        )


def test_the_model_tells_right_texts_from_wrong_ones_and_its_twin_agrees(
    live: ResidentModel, counted: tuple[Example, ...]
) -> None:
    choice = MultipleChoice("o", {"test": counted}, mode="text", list_options=False)
    scores = score_all(choice, live, "test")
    assert scores.value() > 0.5  # one of four by luck
    twin = smooth_scores(scores)
    assert all(
        (t.value >= 0.5) == (s.value == 1) for s, t in zip(scores.scores, twin.scores, strict=True)
    )
    likely = score_all(Likelihood("o", {"test": counted}, transform="sequence"), live, "test")
    first = plain_reply(live, Likelihood("o", {}).requests(counted[0])[0])
    assert first.log_probability is not None
    assert likely.scores[0].value == pytest.approx(exp(first.log_probability), abs=1e-5)


def test_a_judge_on_the_zoo_counts_what_it_cannot_read(
    live: ResidentModel, counted: tuple[Example, ...]
) -> None:
    pairs = tuple(
        question(id=e.id, texts={"chosen": "red", "rejected": "blue"}, lists={})
        for e in counted[:3]
    )
    judge = Judge("j", {"test": pairs}, writing=Writing(4, votes=2, temperature=1.0))
    scores = score_all(judge, live, "test")
    assert scores == score_all(judge, live, "test")  # seeds, not luck
    assert all(0 <= s.value <= 1 for s in scores.scores)
