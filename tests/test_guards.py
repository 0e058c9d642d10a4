"""Guards: floors under objectives as constraints of the search and as a filter on confirm."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from merge_ops.errors import UserError
from objectives.guard import Decision
from objectives.records import ExampleScore, ScoreSet, combined
from objectives.statistics import Interval, interval, mcnemar, paired_difference
from search.dimension import Dimension
from search.feasibility import feasible, order, violation
from search.optuna_proposer import distribution
from search.samplers import make_proposer
from search.selection import confirm, finalists
from studies.ledger import read_trials
from studies.paths import PARENTS, RECIPE
from studies.report.charts import budget, history
from studies.report.page import write_report
from studies.report.place import own_place
from studies.run import run_study
from studies.setup import read_study
from studies.trial_facts import guards_of
from tests.reported import Page

Make = Callable[..., Path]
DIMENSIONS = [Dimension(f"w{i}", 0.0, 1.0, 0.5) for i in range(3)]


def scores(
    values: Sequence[float], *, weight: float = 1.0, name: str = "o", kinds: int = 1
) -> ScoreSet:
    own = tuple(ExampleScore(str(i), v, f"k{i % kinds}") for i, v in enumerate(values))
    return ScoreSet(name, "micro", weight, own)


def trial(number: int, value: float, broken: float | None, x: float = 0.5) -> FrozenTrial:
    made = create_trial(
        state=TrialState.COMPLETE,
        value=value,
        params=dict.fromkeys((d.name for d in DIMENSIONS), x),
        distributions={d.name: distribution(d) for d in DIMENSIONS},
        user_attrs={"digest": f"d{number}", "source": "t", "scores": "{}"},
        constraints={} if broken is None else {"g": broken},
    )
    made.number = number
    return made


def test_a_guard_without_weight_changes_no_combined_figure() -> None:
    counted, guard = scores([1, 0, 1, 1]), scores([0, 0, 0, 1], weight=0, name="g")
    assert combined([counted, guard]) == combined([counted]) == 0.75
    assert interval([guard, counted]) == interval([counted])
    other = [scores([0, 0, 1, 1]), scores([1, 1, 1, 1], weight=0, name="g")]
    assert paired_difference([counted, guard], other) == paired_difference([counted], other[:1])
    assert mcnemar([counted, guard], other) == 1.0  # one pair differs, not four


def test_a_guard_by_itself_has_figures() -> None:
    guard = scores([1, 0, 1, 1], weight=0)
    assert interval([guard]).value == combined([guard]) == 0.75


def test_what_keeps_its_constraints_stands_before_what_does_not() -> None:
    trials = [trial(0, 0.9, 0.2), trial(1, 0.3, 0.0), trial(2, 0.4, -0.1), trial(3, 0.99, 0.1)]
    assert [t.number for t in sorted(trials, key=order)] == [2, 1, 3, 0]
    assert [feasible(t) for t in trials] == [False, True, True, False]
    assert violation(trials[3]) == 0.1
    assert [t.number for t in finalists(trials, 3)] == [2, 1, 3]


def test_the_best_so_far_is_of_trials_that_hold() -> None:
    trials = [trial(0, 0.9, 0.2), trial(1, 0.4, -0.1), trial(2, 0.5, 0.0), trial(3, 0.8, 0.1)]
    drawn = history(trials, "search", "history")
    assert [row[0] for row in drawn.rows] == ["1", "2"]
    assert "2 do not hold all guards" in drawn.alt
    assert [row[2] for row in budget({"search": trials}).rows] == ["40.0", "50.0"]
    none = trials[:1]
    assert "none holds all guards" in history(none, "search", "history").alt
    assert "none holds all guards" in budget({"search": none}).alt


def test_the_winner_is_chosen_among_those_that_hold_on_confirm() -> None:
    trials = [trial(i, 0.5, 0.0) for i in range(3)]
    found = {0: (0.9, 0.1), 1: (0.6, -0.1), 2: (0.7, 0.0)}

    def decide(sets: Sequence[ScoreSet]) -> dict[str, Decision]:
        broken = next(b for v, b in found.values() if v == sets[0].value())
        standing = "holds" if broken <= 0 else "undecided"
        return {"g": Decision(standing, broken, Interval(0, 0, 0))}  # type: ignore[arg-type]

    finals = confirm(trials, 3, lambda t: [scores([found[t.number][0]])], decide)
    assert [one.trial.number for one in finals] == [2, 1, 0]
    found = {k: (v, b + 1) for k, (v, b) in found.items()}
    finals = confirm(trials, 3, lambda t: [scores([found[t.number][0]])], decide)
    assert finals[0].trial.number == 1  # none holds: the least broken
    assert finals[0].violation() == pytest.approx(0.9)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cma", "nsga2"])
def test_samplers_leave_what_breaks_a_guard(sampler: str) -> None:
    """The score rises with x, the guard breaks from 0.5 on: the later half stays mostly below."""
    proposer = make_proposer(sampler, DIMENSIONS, 0, 60)
    trials: list[FrozenTrial] = []
    count = {"gp": 14}.get(sampler, 60)
    for number in range(count):
        proposal = proposer.propose(trials)
        assert proposal is not None
        x = [float(v) for v in proposal.values.values()]
        made = create_trial(
            state=TrialState.COMPLETE,
            value=sum(x) / 3,
            params=proposal.values,
            distributions={d.name: distribution(d) for d in DIMENSIONS},
            user_attrs={"digest": str(number), "source": sampler, **proposal.tags},
            constraints={"g": max(x) - 0.5},
        )
        made.number = number
        trials.append(made)
    late = trials[count // 2 :]
    kept = sum(map(feasible, late)) / len(late)
    assert kept > 0.35  # of random points an eighth is
    best = min(trials, key=order)
    assert feasible(best)
    assert (best.value or 0) > 0.33


@pytest.fixture(scope="module")
def guarded(small_study: Make) -> tuple[dict[str, Any], Path]:
    path = guarded_study(small_study, "guarded", floor="parent - 0.9")
    study = read_study(path)
    return run_study(study), study.out


def guarded_study(small_study: Make, out: str, floor: object, **changes: Any) -> Path:
    from ruamel.yaml import YAML

    path = small_study("reasoning", out=out, compare=False, trials=12, **changes)
    yaml = YAML()
    content = yaml.load(path.read_text())
    perception = content["objectives"][1]
    perception.pop("weight")
    perception["at_least"] = floor
    yaml.dump(content, path)
    return path


def test_a_guard_is_scored_but_does_not_count(guarded: tuple[dict[str, Any], Path]) -> None:
    results, out = guarded
    for one in read_trials(out):
        figures = one.user_attrs["figures"]
        assert one.value == pytest.approx(figures["reasoning"])
        own = guards_of(one)["perception"]
        assert one.constraints == {"perception": own["constraint"]}
        assert (own["standing"] == "holds") == (own["constraint"] <= 0)
    assert results["guards"] == {"perception": "perception >= parent - 0.9 (vlm)"}
    assert results["winner"]["feasible"]
    kept = results["winner"]["guards"]["perception"]["confirm"]
    assert kept["standing"] == "holds"
    assert results["feasible_trials"] == sum(map(feasible, read_trials(out)))


def test_the_report_says_how_the_best_trials_stand(
    guarded: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    results, out = guarded
    page = Page(write_report(out, own_place(tmp_path)).page.read_text())
    (table,) = page.tables["The best trials"]
    best = next(row for row in table if row[0] == str(results["winner"]["trial"]))
    assert table[0] == ["trial", "selection %", "shrunken %", "guards", "proposed by"]
    assert best[3] == "holds"
    assert best[2] == f"{100 * results['winner']['shrunken']:.1f}"
    assert (
        "Guard perception >= parent - 0.9 (vlm): the found recipe holds it on confirm"
        in (page.sections["In short"])
    )


def test_the_parents_are_scored_once_in_a_study(guarded: tuple[dict[str, Any], Path]) -> None:
    _, out = guarded
    (kept,) = json.loads((out / PARENTS).read_text()).values()
    assert set(kept) == {"selection", "confirm"}
    ids = json.loads((out / "splits.json").read_text())["objectives"]["perception"]["confirm"]
    assert list(kept["confirm"]["perception"]) == ids


def test_a_broken_file_of_parents_is_made_anew_and_the_trials_stay_the_same(
    guarded: tuple[dict[str, Any], Path], small_study: Make
) -> None:
    _, out = guarded
    path = guarded_study(small_study, "guarded-again", floor="parent - 0.9")
    study = read_study(path)
    study.out.mkdir()
    (study.out / PARENTS).write_text('{"x": {"selection": [1, 2]}}')
    run_study(study)
    for ours, theirs in zip(read_trials(study.out), read_trials(out), strict=True):
        assert (ours.params, ours.constraints) == (theirs.params, theirs.constraints)
    known = json.loads((out / PARENTS).read_text())
    assert json.loads((study.out / PARENTS).read_text()).items() >= known.items()


def test_where_nothing_holds_it_is_said_and_the_least_broken_is_written(
    small_study: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    from studies.cli import app

    path = guarded_study(small_study, "unheld", floor="parent + 0.5")
    with pytest.raises(SystemExit) as ended:
        app(["run", str(path)])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "No candidate holds the guards" in " ".join(printed.out.split())
    assert "too few to show that it holds even where nothing changes" in printed.err
    out = read_study(path).out
    assert (out / RECIPE).is_file()
    results = json.loads((out / "results.json").read_text())
    least = min(
        results["finalists"], key=lambda f: f["guards"]["perception"]["confirm"]["constraint"]
    )
    assert least["trial"] == results["winner"]["trial"]
    assert not results["winner"]["feasible"]
    for command in (["status", str(out)], ["trials", str(out)]):
        app(command, standalone_mode=False)
        assert "violated" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at_least": "parent - 2"}, "objectives.1.at_least: "),
        ({"at_least": True}, "must be `parent - 0.02` or a number in [0, 1], but is True"),
        ({"at_least": 0.5, "parent": "math"}, "`parent` says whose score"),
        ({"at_least": "parent", "parent": "mth"}, "did you mean 'math'"),
        ({"weight": 0.0}, "weight 0 is for a guard"),
    ],
)
def test_guards_that_say_nothing_are_refused(
    small_study: Make, changes: dict[str, object], message: str
) -> None:
    from ruamel.yaml import YAML

    path = small_study("reasoning", out="odd-guard")
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["objectives"][1].update(changes)
    yaml.dump(content, path)
    with pytest.raises(UserError) as raised:
        read_study(path)
    assert message in str(raised.value)


def test_guards_alone_are_no_study(small_study: Make) -> None:
    from ruamel.yaml import YAML

    path = small_study("reasoning", out="all-guards")
    yaml = YAML()
    content = yaml.load(path.read_text())
    for objective in content["objectives"]:
        objective.pop("weight")
        objective["at_least"] = 0.1
    yaml.dump(content, path)
    with pytest.raises(UserError, match="all are guards; one must count"):
        read_study(path)
