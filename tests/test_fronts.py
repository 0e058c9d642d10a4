"""Fronts: several values at once, from the ledger to the recipes of the points."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from merge_ops.errors import UserError
from merge_ops.recipe_yaml import parse_recipe, read_recipe
from objectives.records import ExampleScore, ScoreSet
from search.dimension import Dimension
from search.front import (
    foremost,
    front_of,
    gains,
    growth,
    hypervolume,
    is_front,
    reaches,
    undominated,
)
from search.nsga_proposer import NsgaProposer
from search.optuna_proposer import distribution
from search.racing import STOPPED
from search.samplers import make_proposer
from studies.budget import Limits
from studies.front_figures import compare_room, covered
from studies.ledger import read_trials
from studies.report.page import write_report
from studies.report.place import own_place
from studies.run import run_study
from studies.setup import read_study
from studies.status import read_status
from studies.tracking_sync import Experiment
from tests.reported import Page

Make = Callable[..., Path]
DIMENSIONS = [Dimension(f"w{i}", 0.0, 1.0, 0.5) for i in range(2)]


def trial(number: int, values: Sequence[float] | None, **more: Any) -> FrozenTrial:
    attributes = {"digest": f"d{number}", "source": "t", "scores": "{}", "reason": "no"}
    made = create_trial(
        state=TrialState.FAIL if values is None else TrialState.COMPLETE,
        values=values,
        params=more.pop("params", {"w0": 0.5, "w1": 0.5}),
        distributions={d.name: distribution(d) for d in DIMENSIONS},
        constraints=more.pop("constraints", None),
        user_attrs={**attributes, **more},
    )
    made.number = number
    return made


def trials_of(points: Sequence[Sequence[float] | None]) -> list[FrozenTrial]:
    return [trial(i, point) for i, point in enumerate(points)]


def test_what_none_beats_stands_on_the_front_and_equals_stand_once() -> None:
    points = [(0.2, 0.9), (0.5, 0.5), (0.5, 0.5), (0.4, 0.5), (0.9, 0.1), (0.9, 0.05)]
    assert undominated(points) == [0, 1, 4]
    draw = random.Random(0)
    many = [tuple(draw.randint(0, 6) / 6 for _ in range(3)) for _ in range(200)]
    kept = {many[i] for i in undominated(many)}
    assert len(kept) == len(undominated(many))
    for point in many:
        beaten = any(p != point and reaches(p, point) for p in many)
        assert (point in kept) != beaten


def test_a_hypervolume_by_hand() -> None:
    assert hypervolume([]) == 0.0
    assert hypervolume([(0.5, 0.4)]) == pytest.approx(0.2)
    assert hypervolume([(0.2, 0.9), (0.5, 0.5), (0.9, 0.1)]) == pytest.approx(
        0.2 * 0.9 + 0.3 * 0.5 + 0.4 * 0.1
    )
    assert hypervolume([(0.5, 0.5, 0.5), (1.0, 0.2, 0.2)]) == pytest.approx(0.125 + 0.5 * 0.04)
    assert hypervolume([(0.5, 0.5), (0.4, 0.4)]) == pytest.approx(0.25)  # adds nothing


def test_failed_stopped_and_infeasible_trials_are_on_no_front() -> None:
    trials = trials_of([(0.1, 0.1), None])
    trials += [trial(2, (0.9, 0.9), **{STOPPED: 5}), trial(3, (0.8, 0.8), constraints={"g": 0.1})]
    assert [t.number for t in front_of(trials)] == [0]
    assert growth(trials) == pytest.approx([0.01] * 4)
    assert is_front(trials)
    assert not is_front([trial(0, (0.5,)), trial(1, None)])


def test_the_hypervolume_grows_with_those_that_join() -> None:
    trials = trials_of([(0.5, 0.5), (0.4, 0.4), None, (0.2, 0.9), (0.6, 0.95), (0.6, 0.95)])
    assert growth(trials) == pytest.approx([0.25, 0.25, 0.25, 0.33, 0.57, 0.57])
    assert gains(trials) == [True, False, False, True, True, False]
    for count in range(1, 7):
        own = [t.values for t in front_of(trials[:count])]
        assert growth(trials)[count - 1] == pytest.approx(hypervolume(own))


def test_the_widest_of_a_front_are_scored_again_then_the_next_layer() -> None:
    front = [(0.1, 1.0), (0.12, 0.99), (0.6, 0.6), (1.0, 0.1)]
    trials = trials_of([*front, (0.5, 0.5), (0.05, 0.05)])
    trials.append(trial(6, (1.0, 1.0), constraints={"g": 0.2}))
    assert {t.number for t in foremost(trials, 3)} == {1, 2, 3}
    assert [t.number for t in foremost(trials, 7)][4:] == [4, 5, 6]


def test_budgets_of_a_front_go_by_its_hypervolume() -> None:
    trials = trials_of([(0.5, 0.5), (0.4, 0.4), (0.3, 0.3)])
    assert Limits(None, target=0.3).reached(trials) is None
    assert "target: 0.25 is at least 0.2" in str(Limits(None, target=0.2).reached(trials))
    assert Limits(None, patience=3).reached(trials) is None
    assert "patience: 2 trials" in str(Limits(None, patience=2).reached(trials))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "qmc", "gp"])
def test_samplers_find_a_front_and_forget_nothing(sampler: str) -> None:
    """Two values that disagree: the front is the line x + y = 1 along w0, at w1 = 1."""
    count = {"gp": 16}.get(sampler, 60)

    def run(forget: int) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = []
        proposer = make_proposer(sampler, DIMENSIONS, 3, count, 2)
        for number in range(count):
            if forget and number % forget == 0:
                proposer = make_proposer(sampler, DIMENSIONS, 3, count, 2)
            proposal = proposer.propose(trials)
            assert proposal is not None
            x, y = (float(v) for v in proposal.values.values())
            values = (x * y, (1 - x) * y)
            trials.append(trial(number, values, params=proposal.values, **proposal.tags))
        return trials

    found = run(0)
    assert growth(found)[-1] > {"tpe": 0.4, "gp": 0.4}.get(sampler, 0.33)  # all: 0.5
    if sampler != "gp":
        assert [t.params for t in run(7)] == [t.params for t in found]


def test_another_budget_gives_no_point_the_values_of_another() -> None:
    """A longer budget means larger generations: what was proposed before is known, not relived."""
    trials: list[FrozenTrial] = []
    proposer = NsgaProposer(DIMENSIONS, 3, 80, 2)
    for budget in (80, 400):
        proposer = NsgaProposer(DIMENSIONS, 3, budget, 2)
        for number in range(len(trials), len(trials) + 30):
            proposal = proposer.propose(trials)
            x, y = (float(v) for v in proposal.values.values())
            trials.append(trial(number, (x, y), params=proposal.values, **proposal.tags))
    known = proposer._study.get_trials(deepcopy=False)
    told = [t for t in known if t.state is TrialState.COMPLETE]
    assert len(told) >= 59
    assert all(t.values == [t.params["w0"], t.params["w1"]] for t in told)


def scored(shares: dict[str, float], n: int = 400) -> list[ScoreSet]:
    """Score sets of two objectives whose first examples are right."""
    return [
        ScoreSet(
            name,
            "micro",
            1.0,
            tuple(ExampleScore(str(i), float(i < share * n), "k") for i in range(n)),
        )
        for name, share in shares.items()
    ]


def test_hypervolumes_are_compared_on_the_same_examples() -> None:
    values = {"a": ["a"], "b": ["b"]}
    ours = [scored({"a": 0.9, "b": 0.3}), scored({"a": 0.3, "b": 0.9})]
    theirs = [scored({"a": 0.5, "b": 0.5})]
    assert covered(ours, values) == pytest.approx(0.27 + 0.18)
    found = compare_room(ours, theirs, values)
    assert found.own == pytest.approx(0.45)
    assert found.rival == pytest.approx(0.25)
    assert 0.1 < found.difference.low < found.difference.value < found.difference.high < 0.3
    same = compare_room(ours, ours, values).difference
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.fixture(scope="module")
def front(small_study: Make) -> tuple[dict[str, Any], Path, Path]:
    path = small_study(
        "reasoning",
        out="front",
        trials=16,
        sampler="auto",
        front=["reasoning", "perception"],
        confirm_top=4,
        search={"knobs": {"weight": [0.0, 1.5]}, "bands": 2},
    )
    study = read_study(path)
    return run_study(study), study.out, path


def test_a_front_has_points_that_none_beats_on_confirm_and_a_recipe_each(
    front: tuple[dict[str, Any], Path, Path],
) -> None:
    results, out, _ = front
    found = results["front"]
    points = [tuple(one["confirm"].values()) for one in found["points"]]
    assert undominated(points) == list(range(len(points)))
    assert found["hypervolume"]["confirm"] == pytest.approx(hypervolume(points))
    assert sum(one["found"] for one in found["points"]) == 1
    trials = read_trials(out)
    for one in found["points"]:
        recipe = read_recipe(out / one["recipe"])
        assert recipe.provenance["trial"] == one["trial"]
        assert recipe.provenance["digest"] == trials[one["trial"]].user_attrs["digest"]
        assert one["selection"] == dict(
            zip(("reasoning", "perception"), trials[one["trial"]].values, strict=True)
        )
    own = next(one for one in found["points"] if one["found"])
    assert (out / own["recipe"]).read_text().count("\n") > 10
    assert own["trial"] == results["winner"]["trial"]
    names = [row["name"] for row in results["rows"]]
    assert len(set(names)) == len(names)
    assert names[-1] == "found recipe"
    reads = (out / "test_reads.jsonl").read_text().splitlines()
    assert len(reads) == len(names) == results["test_reads"]  # no point is looked at twice
    assert found["rival"]["difference"]["low"] <= found["rival"]["difference"]["high"]
    assert set(found["parents"]) >= {"vlm alone", "math layers in vlm", "plain average"}


def test_the_ledger_keeps_several_values_and_goes_on(
    front: tuple[dict[str, Any], Path, Path], small_study: Make
) -> None:
    _, out, _ = front
    for one in read_trials(out):
        assert one.user_attrs["front"] == ["reasoning", "perception"]
        figures = one.user_attrs["figures"]
        assert one.values == pytest.approx([figures["reasoning"], figures["perception"]])
    again = small_study(
        "reasoning",
        out="front-again",
        trials=13,
        sampler="auto",
        front=["reasoning", "perception"],
        confirm_top=4,
        compare=False,
        search={"knobs": {"weight": [0.0, 1.5]}, "bands": 2},
    )
    study = read_study(again)
    run_study(study)
    again.write_text(again.read_text().replace("trials: 13", "trials: 16"))
    run_study(read_study(again), accept_changes=True)
    ours, theirs = read_trials(study.out), read_trials(out)
    assert [t.params for t in ours] == [t.params for t in theirs]
    assert [t.values for t in ours] == [t.values for t in theirs]


def test_commands_tell_of_a_front(
    front: tuple[dict[str, Any], Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from studies.cli import app

    results, out, _ = front

    def said(*arguments: str) -> str:
        app([*arguments[:1], str(out), *arguments[1:]], standalone_mode=False)
        return capsys.readouterr().out

    points = results["front"]["points"]
    text = said("best")
    assert all(one["recipe"] in text for one in points)
    printed = parse_recipe(said("best", "--point", "1"), Path("/elsewhere/recipe.yaml"))
    assert printed == read_recipe(out / points[0]["recipe"])
    assert json.loads(said("best", "--json"))["front"] == points
    with pytest.raises(UserError, match="--point must name one of"):
        said("best", "--point", "99")
    text = said("status")
    assert f"front of {results['front']['selection_points']}, hypervolume" in text
    assert json.loads(said("status", "--json"))["hypervolume"] == pytest.approx(
        results["front"]["hypervolume"]["selection"]
    )
    rows = json.loads(said("trials", "--json"))
    assert sum(row["front"] for row in rows) == results["front"]["selection_points"]
    assert "perception" in said("trials")
    assert read_status(out).best is not None


def test_the_report_shows_the_front_with_parents_and_its_hypervolume(
    front: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    results, out, _ = front
    written = write_report(out, own_place(tmp_path))
    names = [picture.stem for picture in written.pictures]
    assert {"hypervolume", "front-0", "front-0-confirm"} <= set(names)
    page = Page(written.page.read_text())
    (words,) = [text for text in page.charts if "beaten by none" in text]
    assert "vlm alone: " in words
    (table,) = [t for t in page.tables["Objectives against each other"] if "recipe" in t[0]]
    assert [row[-1] for row in table[1:]] == [one["recipe"] for one in results["front"]["points"]]
    assert (
        f"Hypervolume {results['front']['hypervolume']['selection']:.3f} on selection"
        in (page.sections["In short"])
    )


def test_mlflow_gets_a_metric_for_each_value(
    front: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    _, out, _ = front
    experiment = Experiment(f"sqlite:///{tmp_path}/mlflow.db", "front", "x", {})
    one = read_trials(out)[0]
    experiment.write(one)
    (run,) = experiment._runs.find("trial")
    for name, value in zip(("reasoning", "perception"), one.values, strict=True):
        assert run.data.metrics[f"front.{name}"] == pytest.approx(value)
    assert run.data.metrics["score"] == pytest.approx(sum(one.values) / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"front": ["reasoning"]}, "needs two values or more"),
        ({"front": ["reasoning", "percption"]}, "did you mean 'perception'"),
        ({"front": {"a": ["reasoning"], "b": ["reasoning"]}}, "stands here 2 times"),
        ({"front": {"a": ["reasoning"], "b": []}}, "each of at least one objective"),
        ({"front": ["reasoning", "perception"], "sampler": "cma"}, "sampler: cma follows one"),
    ],
)
def test_fronts_that_cannot_be_are_refused(
    small_study: Make, changes: dict[str, Any], message: str
) -> None:
    path = small_study("reasoning", out="odd-front", **{"sampler": "tpe", **changes})
    with pytest.raises(UserError) as raised:
        read_study(path)
    assert message in str(raised.value)
