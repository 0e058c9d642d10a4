"""Every metric on cases checked by hand."""

import pytest
from PIL import Image

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.metric import all_metrics, get_metric

MISS = None
"""Marks a response in which no answer is found: value 0, unparsed."""


def example(
    *answers: str,
    options: tuple[str, ...] = (),
    bbox: tuple[float, ...] = (),
    precision: float | None = None,
) -> Example:
    """An example of one or more gold answers, with an image of 200 x 100 pixels."""
    numbers = {"bbox": bbox} if bbox else {}
    if precision is not None:
        numbers["precision"] = (precision,)
    lists = {"options": options} if options else {}
    if len(answers) > 1:
        lists["answers"] = answers
    texts = {"answer": answers[0]} if answers else {}
    image = Image.new("RGB", (200, 100))
    return Example("x", "?", (image,), texts, "all", lists, numbers)


def check(
    name: str, response: str, about: Example, value: float | None, **options: object
) -> None:
    found = get_metric(name).with_options(options)(response, about)
    assert found.parsed == (value is not None)
    assert found.value == pytest.approx(value or 0.0)


TEN = ("ale",) * 3 + ("stone",) * 2 + ("pale ale",) + ("unanswerable",) * 4


@pytest.mark.parametrize(
    ("response", "answers", "value"),
    [
        ("ale", TEN, 0.9),  # three said so: 7 x min(1, 3/3) + 3 x 2/3, over 10
        ("Ale.", TEN, 0.9),
        ("The ale", TEN, 0.9),
        ("stone", TEN, 0.6),  # 8 x 2/3 + 2 x 1/3
        ("pale-ale", TEN, 0.3),  # 9 x 1/3
        ("unanswerable", TEN, 1.0),  # each set of nine holds at least three
        ("porter", TEN, 0.0),
        ("", TEN, MISS),
        (" \n", TEN, MISS),
        ("Three.", ("3",) * 10, 1.0),
        ("none", ("0",) * 10, 1.0),
        ("eleven", ("11",) * 10, 0.0),  # number words end at ten
        ("dont walk", ("don't walk",) * 10, 1.0),
        ("Don’t walk!", ("don't walk",) * 10, 1.0),
        ("Hershey's", ("hershey 's",) * 10, 1.0),
        ("1,000", ("1000",) * 10, 1.0),
        ("3.5", ("3.5",) * 10, 1.0),
        ("3.5", ("35",) * 10, 0.0),  # the point of a number stays
        ("2:50 pm", ("250 pm",) * 10, 0.0),  # so does the colon of a time
        ("@mediaczar.", ("mediaczar",) * 10, 1.0),
        ("couldnt've", ("couldn't've",) * 10, 1.0),
        ("a", ("the",) * 10, 1.0),  # articles alone have an empty normal form
        ("its", ("it's",) * 10, 0.0),  # a word of its own: not in the table of contractions
        ("yes", ("yes", "no"), 0.0 + 0.5 * (0 + 1 / 3)),
    ],
)
def test_vqa_accuracy(response: str, answers: tuple[str, ...], value: float | None) -> None:
    check("vqa_accuracy", response, example(*answers), value)


@pytest.mark.parametrize(
    ("response", "gold", "value"),
    [
        ("Yes.", "yes", 1),
        ("yes", "no", 0),
        ("  A   dog ", "dog", 1),
        ("the dog", "a dog", 1),
        ("a", "a", 1),
        ("a", "b", 0),
        ("light-blue", "lightblue", 1),
        ("left!", "left", 1),
        ("“Penguin Books”", "Penguin Books", 1),
        ("3.5", "35", 0),
        ("-5", "5", 0),
        ("1,000", "1,000", 1),
        ("1/2", "12", 0),
        ("5%", "5", 0),
        ("12:30", "1230", 0),
        ("STRASSE", "straße", 1),
        ("ﬁre", "fire", 1),
        ("dogs", "dog", 0),
        ("", "dog", MISS),
        ("...", "dog", MISS),
        ("The answer is dog", "dog", 0),  # exact: no answer is looked for
    ],
)
def test_exact_match(response: str, gold: str, value: float | None) -> None:
    check("exact_match", response, example(gold), value)


@pytest.mark.parametrize(
    ("response", "gold", "value"),
    [
        ("100", "100", 1),
        ("105", "100", 1),  # the bound itself
        ("105.1", "100", 0),
        ("95", "100", 1),
        ("94.9", "100", 0),
        ("1.05", "1", 1),  # 0.05000000000000004 in binary
        ("100", "105.3", 0),  # 5 % of the gold one: not symmetric
        ("12%", "12", 0),  # 0.12 against 12
        ("12%", "0.12", 1),
        ("12 %", "12%", 1),
        ("0", "0.0", 1),
        ("0.001", "0", 0),
        ("-5", "5", 0),
        ("−5", "-5", 1),
        ("1,234", "1234", 1),
        ("1.2e3", "1200", 1),
        ("Yes.", "yes", 1),
        ("No", "Yes", 0),
        ("nan", "nan", 1),  # a text, not a number
        ("nan", "5", 0),
        ("inf", "5", 0),
        ("1_0", "10", 0),
        ("E0", "0", 0),  # an exponent of nothing is a text
        ("E0", "e0", 1),
        ("2018", "2019", 1),  # years are numbers too: ChartQA's own rule
        ("Dark Blue", "dark  blue", 1),
        ("about 12", "12", 0),
        ("", "12", MISS),
    ],
)
def test_relaxed_accuracy(response: str, gold: str, value: float | None) -> None:
    check("relaxed_accuracy", response, example(gold), value)


def test_any_of_several_gold_answers_counts() -> None:
    check("relaxed_accuracy", "7", example("5", "7"), 1)
    check("exact_match", "tram", example("train", "tram"), 1)


MATHS = [
    (r"So \boxed{12}.", "12", 1),
    (r"First \boxed{3}, no: \boxed{12}", "12", 1),  # the last box counts
    (r"\boxed{\frac{1}{2}}", "0.5", 1),
    (r"\boxed{\dfrac12}", "1/2", 1),
    (r"\boxed{2\frac{1}{2}}", "2.5", 1),
    (r"\boxed{2\sqrt{3}}", "3.4641", 1),
    (r"\boxed{3\pi}", "9.42", 1),
    (r"\boxed{60^\circ}", "60", 1),
    (r"\boxed{60^{\circ}}", "60 degrees", 1),
    (r"\boxed{5\text{ cm}^2}", "5", 1),
    (r"\boxed{5 \mathrm{~cm}}", "5 cm", 1),
    (r"\boxed{5\text{ cm}}", "5 mm", 0),  # another unit is another quantity
    (r"\boxed{5 \text{ square centimeters}}", "5 cm^2", 1),
    (r"\boxed{x = 5}", "5", 1),
    (r"\boxed{" + "1 + " * 100 + "1}", "101", MISS),  # a model that repeats itself
    (r"\boxed{1{,}234}", "1234", 1),
    (r"\boxed{1.2 \times 10^{3}}", "1200", 1),
    (r"\boxed{\$12.50}", "12.5", 1),
    (r"\boxed{50\%}", "50", 1),
    (r"\boxed{(1, -2)}", "(1,-2)", 1),
    (r"\boxed{(2, 1)}", "(1, 2)", 0),
    (r"\boxed{\left(\frac{1}{2}, 3\right)}", "(0.5, 3)", 1),
    (r"\boxed{2x+1}", "2x + 1", 1),
    (r"\boxed{2x+1}", "2x+2", 0),
    (r"\boxed{2x}", "2", 0),
    (r"\boxed{x - 3}", "3", 0),
    (r"\boxed{2 x}", "2", 0),
    ("The answer is 12cm because it is.", "12", 0),  # a unit inside a sentence is not looked for
    (r"\boxed{\text{Isosceles}}", "isosceles", 1),
    (r"\boxed{1/0}", "5", 0),
    (r"\boxed{9^{9^9}}", "5", 0),  # refused, not computed
    (r"\boxed{((((((((((" + "(" * 150 + "}", "5", 0),
    ("The answer is 3.5.", "3.5", 1),
    ("The answer is 12 because of symmetry.", "12", 1),
    ("The answer is: **7**", "7", 1),
    ("Answer: 7\nLet me know!", "7", 1),
    ("Answer:\n7", "7", 1),
    ("#### 42", "42", 1),
    ("The answer is 42.\n#### Check 7", "42", 1),  # a heading, not GSM8K's mark
    ("The answer is approximately 12.0 cm.", "12", 1),
    ("Therefore, the answer is:\n\n$$\\boxed{5}$$", "5", 1),
    (r"\boxed{\angle ABC = 60^\circ}", "60", 1),
    (r"The area is \(\frac{1}{2}\). The answer is \( \frac{3}{4} \).", "0.75", 1),
    (r"\boxed{12 \text{ or } 13}", "12", 0),
    (r"\boxed{3:4}", "3 : 4", 1),
    ("The answer is 4. Wait, the answer is 5.", "5", 1),
    ("3.1416", "3.1419", 1),  # within 1e-3
    ("3.13", "3.1416", 0),
    ("0.0001", "0", 0),
    ("-3", "3", 0),
    ("−3", "-3", 1),
    ("We add 2 and 3.\nThis gives 5 apples.", "5", 1),
    ("We add.\nSo 2 plus 3 makes 5 then and there, friend.", "5", MISS),  # three numbers
    ("I cannot see the figure well enough to tell, I fear.", "5", MISS),
    (r"\boxed{12", "12", 0),  # cut off: it may have become 123
    (r"The answer is (B) 12 cm.", "B", 1),
    (r"\boxed{\text{C}}", "B", 0),
]


@pytest.mark.parametrize(("response", "gold", "value"), MATHS)
def test_math_answer(response: str, gold: str, value: float | None) -> None:
    check("math_answer", response, example(gold), value)


def test_math_answer_rounds_to_the_precision_that_the_data_states() -> None:
    check("math_answer", "0.3333", example("0.33", precision=2.0), 1)
    check("math_answer", "0.3333", example("0.33"), 0)
    check("math_answer", "0.3399", example("0.33", precision=2.0), 0)


def test_math_answer_reads_a_choice_where_the_data_has_options() -> None:
    gold = example("6 cm", options=("3 cm", "6 cm", "9 cm"))
    for right in ("B", r"\boxed{B}", "The answer is 6 cm.", r"\boxed{6 cm}"):
        check("math_answer", right, gold, 1)
    check("math_answer", "(C)", gold, 0)
    check("math_answer", "(C) or (B)", gold, MISS)
    check("math_answer", "A side is 3 cm. \\boxed{6}", gold, 1)  # equal to 6 cm; 3 cm is no choice
    halves = example("1/2", options=("12", "1/2", "0.5 cm", "5%", "5"))
    check("math_answer", "The answer is 1/2", halves, 1)
    check("math_answer", "The answer is 5%", halves, 0)


COLOURS = ("red", "dark red", "blue", "a dog")


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("B", 1),
        ("b", 1),
        ("(B)", 1),
        ("B.", 1),
        ("B. dark red", 1),
        ("B: dark red", 1),
        ("Answer: B", 1),
        ("**Answer:** B", 1),
        ("answer is (b)", 1),
        ("The correct option is B.", 1),
        ("Option B", 1),
        (r"$\boxed{\text{B}}$", 1),
        ("I think B is correct, given the light.", 1),
        ("dark red", 1),
        ('The answer is "B".', 1),
        ("Answer: B, since it is not (A).", 1),
        ("The correct option letter is B", 1),
        ("The answer is B) dark red", 1),
        (r"\boxed{B: dark red}", 1),
        ("I choose option A dog", 0),  # again the text of option D
        ("It looks dark red to me.", 1),  # not also "red"
        ("B because of its hue", 1),
        ("Answer: A. Wait. Answer: B", 1),
        ("(A) is wrong, so the answer is (B).", 1),
        ("C", 0),
        ("It is blue.", 0),
        ("Answer: a dog", 0),  # option D, not letter A
        ("A dog and its owner", 0),  # the text of option D
        ("A cat and its owner", MISS),
        ("A or B", MISS),
        ("Answer: A and B", MISS),
        ("(A) (B)", MISS),
        ("(A) is wrong; (B) it is", MISS),
        ("A. red\nB. dark red\nC. blue", MISS),  # the options repeated
        ("red, or rather blue", MISS),
        ("Blurry", MISS),  # not letter B
        ("E", MISS),  # there is no such option
        ("The answer is not given. (B)", MISS),  # what is stated decides, and names no option
        ("", MISS),
    ],
)
def test_choice_letter(response: str, value: float | None) -> None:
    check("choice_letter", response, example("B", options=COLOURS), value)


def test_a_gold_choice_may_be_given_by_its_text() -> None:
    check("choice_letter", "B", example("Dark red", options=COLOURS), 1)
    with pytest.raises(ObjectiveError, match="x: the answer must be a letter up to D or the text"):
        get_metric("choice_letter")("B", example("green", options=COLOURS))


@pytest.mark.parametrize(
    ("response", "units", "value"),
    [
        ("[20, 10, 120, 60]", "pixels", 1),
        ("[20,10,120,60]", "pixels", 1),
        ("The box is [[20, 10, 120, 60]].", "pixels", 1),
        ("(20,10),(120,60)", "pixels", 1),
        ("<|box_start|>(20,10),(120,60)<|box_end|>", "pixels", 1),
        ('{"bbox_2d": [20, 10, 120, 60], "label": "dog"}', "pixels", 1),
        ("(1) the man: [20, 10, 120, 60]", "pixels", 1),
        ("[20, 10, 120, 60] not [0, 0, 1, 1]", "pixels", 1),  # the first four
        ("[0.1, 0.1, 0.6, 0.6]", "unit", 1),
        ("[100, 100, 600, 600]", "thousand", 1),
        ("[100, 100, 600, 600]", "pixels", 0),
        ("[20, 10, 70, 60]", "pixels", 1),  # exactly half
        ("[20, 10, 69, 60]", "pixels", 0),
        ("[120, 60, 20, 10]", "pixels", 0),  # corners swapped
        ("[20, 10, 20, 10]", "pixels", 0),  # no area
        ("[-20.5, -10, 1e9, 60]", "pixels", MISS),  # five numbers: 1 and 9 apart
        ("20, 10, 120, 60", "pixels", MISS),  # no brackets
        ("[20, 10, 120]", "pixels", MISS),
        ("", "pixels", MISS),
    ],
)
def test_box_iou(response: str, units: str, value: float | None) -> None:
    gold = example(bbox=(20, 10, 120, 60))
    check("box_iou", response, gold, value, units=units, gold_units="pixels")


def test_boxes_of_other_units_and_boxes_without_a_size() -> None:
    gold = example(bbox=(0.1, 0.1, 0.6, 0.6))
    check("box_iou", "[0.1, 0.1, 0.6, 0.6]", gold, 1)
    check("box_iou", "[20, 10, 120, 60]", gold, 1, units="pixels")
    check("box_iou", "[100, 100, 600, 600]", gold, 1, units="thousand")
    with pytest.raises(ObjectiveError, match="bbox must hold four numbers"):
        get_metric("box_iou")("[1, 2, 3, 4]", example(bbox=(1, 2, 3)))
    blind = Example("x", "?", (), {}, "all", {}, {"bbox": (1, 2, 3, 4)})
    with pytest.raises(ObjectiveError, match="a box in pixels needs the image's size"):
        get_metric("box_iou").with_options({"gold_units": "pixels"})("[1, 2, 3, 4]", blind)


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("4", 0.75),
        ("1", 0.0),
        ("5.", 1.0),
        ("3.5", 0.625),
        ("Score: 4", 0.75),
        ("**Rating**: 2", 0.25),
        ("Rating: [[4]]", 0.75),
        (r"\boxed{5}", 1.0),
        ("4/5", 0.75),
        ("I give it 4 out of 5.", 0.75),
        ("Response 1 is fine. Score: 3", 0.5),
        ("Score: 2. On reflection, score: 4", 0.75),
        ("There are 2 dogs. 4/5", 0.75),
        ("On a scale of 1 to 5, I rate it 3.", 0.5),
        ("Rating scale 1-5: 4", 0.75),
        ("Rating: 4 (out of 5)", 0.75),
        ("Score: 7", MISS),
        ("0", MISS),
        ("-3", MISS),
        ("between 2 and 4", MISS),
        ("45", MISS),
        ("8/10", MISS),
        ("good", MISS),
        ("", MISS),
    ],
)
def test_judge_score(response: str, value: float | None) -> None:
    check("judge_score", response, example(), value)


def test_metrics_are_found_by_name_and_each_has_a_source() -> None:
    names = [metric.name for metric in all_metrics()]
    assert names == sorted(names)
    assert {"vqa_accuracy", "math_answer", "box_iou"} <= set(names)
    assert all("arXiv:" in metric.source and metric.fn.__doc__ for metric in all_metrics())


def test_a_wrong_name_option_or_column_is_named() -> None:
    with pytest.raises(ObjectiveError, match="unknown metric 'exactmatch', did you mean 'exact_m"):
        get_metric("exactmatch")
    with pytest.raises(ObjectiveError, match="box_iou has no option 'unit'; it has units"):
        get_metric("box_iou").with_options({"unit": "pixels"})
    with pytest.raises(ObjectiveError, match="vqa_accuracy reads answers, but example x has no a"):
        get_metric("vqa_accuracy")("ale", example("ale"))
