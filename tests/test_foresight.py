"""What is printed before a search about the sizes of its splits."""

from objectives.data import Example
from objectives.generation import Generation
from objectives.records import SPLITS
from studies.foresight import foresee


def test_every_split_of_every_objective_says_what_it_can_tell() -> None:
    rows = tuple(Example(str(i), "?", (), {"answer": "x"}, "ab"[i % 2]) for i in range(100))
    one = Generation("maths", dict.fromkeys(SPLITS, rows))
    lines = foresee([one, one], trials=30, confirm_top=5)
    assert lines[:3] == lines[3:]
    assert lines[0] == (
        "maths, selection: 100 examples: standard error 5.0 points, smallest difference "
        "detectable 12.5; the best of 30 equal candidates looks up to 10.2 points better than "
        "it is"
    )
    assert "best of 5 equal candidates" in lines[1]
    assert "best of" not in foresee([one], trials=None, confirm_top=5)[0]
    assert "best of 3 equal" in foresee([one], trials=3, confirm_top=5)[1]
    assert lines[2].endswith("smallest difference detectable 12.5")  # test scores one winner
