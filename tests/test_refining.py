"""Searches from coarse to fine: bands are tied at first, and cut where confirm agrees."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from merge_ops.errors import UserError
from merge_ops.recipe import Recipe, Source
from merge_ops.registry import Value
from objectives.records import ExampleScore, ScoreSet
from search.depth import Depth, even_bands
from search.dimension import Point
from search.in_flight import Pending
from search.modules import WHOLE, listed
from search.optuna_proposer import distribution
from search.proposer import Proposal
from search.refining import RefiningProposer
from search.samplers import make_proposer
from search.space import KnobRange, SearchSpace
from search.stage import Stage, stage_of, stages
from search.tying import tied
from studies.ledger import read_trials
from studies.run import run_study
from studies.setup import read_study

NAMES = tuple(f"model.layers.{i}.{p}.weight" for i in range(8) for p in ("self_attn.q", "mlp.up"))


def space(*, parts: bool = False, bands: int = 4, **frozen: float) -> SearchSpace:
    template = Recipe("task_arithmetic", (Source("a"), Source("b")), "base", target="t")
    return SearchSpace(
        template,
        ("a", "b"),
        {"weight": KnobRange(0.0, 1.0), "lambda": KnobRange(0.5, 1.5)},
        even_bands(8, bands),
        listed(["attention", "mlp"]) if parts else WHOLE,
        NAMES,
        {"normalize": (True, False)},
        {name.replace("_", "."): value for name, value in frozen.items()},
    )


@pytest.mark.parametrize("parts", [False, True])
def test_a_tied_point_decodes_to_the_recipe_of_the_coarser_space(parts: bool) -> None:
    fine, coarse = space(parts=parts), space(parts=parts, bands=2)
    one = tied(fine, Depth(4, (0, 2)))
    values = {d.name: 0.1 + 0.05 * i for i, d in enumerate(one.dimensions[:-1])}
    values = {**values, "normalize": True}
    names = [d.name for d in coarse.dimensions()]
    assert len(one.dimensions) == len(names)
    same = dict(zip(names, values.values(), strict=True))
    assert fine.decode(one.spread(values)) == coarse.decode(same)
    assert one.gather(one.spread(values)) == values
    assert one.gather({**one.spread(values), fine.dimensions()[0].name: 0.9}) is None


def test_values_that_are_frozen_in_some_bands_stay_frozen() -> None:
    fine = space(weight_a_0=0.25)
    one = tied(fine, Depth(4))
    assert [d.name for d in one.dimensions[:2]] == ["weight.a.1", "weight.b.0"]
    point = one.spread(dict.fromkeys((d.name for d in one.dimensions), 0.5) | {"normalize": True})
    assert "weight.a.0" not in point
    assert set(point) == {d.name for d in fine.dimensions()}


def test_a_stage_is_read_from_the_tags_of_its_trials() -> None:
    for stage in (Stage(0, (0,)), Stage(3, (0, 2, 70), 70, (1, 65), -0.0125)):
        assert stage_of(create_trial(value=0.0, user_attrs=dict(stage.tags()))) == stage
    assert stage_of(create_trial(value=0.0)) is None


ITEMS = 60


def value(point: Point) -> float:
    """The best values rise at the middle of depth for expert a; expert b is the same all over."""
    best = {"weight.a": (0.2, 0.2, 0.9, 0.9), "weight.b": (0.6,) * 4}
    own = [
        abs(float(point[f"{name}.{i}"]) - target)
        for name, targets in best.items()
        for i, target in enumerate(targets)
    ]
    return 1 - sum(own) / len(own)


def score(point: Point) -> list[ScoreSet]:
    right = round(ITEMS * value(point))
    scores = [ExampleScore(str(i), float(i < right), "c") for i in range(ITEMS)]
    return [ScoreSet("o", "micro", 1.0, tuple(scores))]


def search(
    sampler: str, count: int, restart_every: int = 10**9, seed: int = 1
) -> tuple[list[FrozenTrial], list[str]]:
    fine, lines = space(), list[str]()
    kinds = {d.name: distribution(d) for d in fine.dimensions()}

    def make() -> RefiningProposer:
        return RefiningProposer(
            fine,
            1,
            15,
            lambda dimensions, stage: make_proposer(sampler, dimensions, seed + stage, 15),
            score,
            lines.append,
        )

    trials: list[FrozenTrial] = []
    proposer = make()
    for number in range(count):
        if number % restart_every == 0:
            proposer = make()
        found = proposer.propose(trials)
        assert found is not None
        made = create_trial(
            state=TrialState.COMPLETE,
            value=value(found.values),
            params=dict(found.values),
            distributions=kinds,
            user_attrs={**found.tags, "scores": '{"o": [1.0, 0.0]}'},
        )
        made.number = number
        trials.append(made)
    return trials, lines


def test_bands_are_cut_where_confirm_agrees_and_the_others_stay_tied() -> None:
    trials, lines = search("tpe", 80)
    found = [stage for stage, _ in stages(trials)]
    assert found[0].edges == (0,)
    assert (found[1].edges, found[1].cut) == ((0, 2), 2)  # where the best values rise
    assert found[2].edges[0] == 0
    assert 2 in found[2].edges
    assert (found[2].gain or 0) > 0
    assert "the cut at layer 4 stays: +" in "\n".join(lines)
    assert all(len(set(s.edges) - {0, 2}) <= 2 for s in found)
    assert {count for _, count in stages(trials)[:-1]} == {15}
    for trial in trials:
        own = stage_of(trial)
        assert own is not None
        assert tied(space(), Depth(4, own.edges)).gather(trial.params) is not None


def test_a_cut_that_wins_nothing_on_confirm_is_undone_and_not_made_again() -> None:
    def flat(_: Point) -> list[ScoreSet]:
        return [ScoreSet("o", "micro", 1.0, (ExampleScore("x", 1.0, "c"),))]

    one = RefiningProposer(space(), 1, 3, lambda d, stage: make_proposer("random", d, stage), flat)
    trials: list[FrozenTrial] = []
    kinds = {d.name: distribution(d) for d in space().dimensions()}
    for number in range(30):
        found = one.propose(trials)
        assert found is not None
        tags = dict(found.tags)
        made = create_trial(
            value=float(number), params=found.values, distributions=kinds, user_attrs=tags
        )
        made.number = number
        trials.append(made)
    told = [stage for stage, _ in stages(trials)]
    assert [s.edges for s in told] == [(0,), (0, 2), (0, 1), (0, 3), (0,)]
    assert told[-1] == Stage(4, (0,), 0, (1, 2, 3), 0.0)
    assert stages(trials)[-1][1] == 30 - 12  # one value for all layers, to the end


@pytest.mark.parametrize("sampler", ["tpe", "cma", "nsga2", "m2n2", "qmc", "random"])
def test_the_trials_are_the_only_state(sampler: str) -> None:
    whole, broken = search(sampler, 40)[0], search(sampler, 40, restart_every=7)[0]
    assert [t.params for t in whole] == [t.params for t in broken]
    assert [t.user_attrs for t in whole] == [t.user_attrs for t in broken]
    assert len(stages(whole)) > 2


def test_a_sampler_is_told_the_trials_of_coarser_stages() -> None:
    seen: list[Sequence[FrozenTrial]] = []

    class Spy:
        def __init__(self, dimensions: Sequence[Any]) -> None:
            self._names = [d.name for d in dimensions]

        def propose(
            self, trials: Sequence[FrozenTrial], _pending: Sequence[Pending] = (), /
        ) -> Proposal:
            seen.append(list(trials))
            assert all(list(t.params) == self._names for t in trials)
            values: dict[str, Value] = {n: (len(trials) % 5) / 10 + 0.5 for n in self._names}
            return Proposal({**values, "normalize": True}, {"place": len(trials)})

    one = RefiningProposer(space(), 2, 4, lambda d, _: Spy(d), score)
    kinds = {d.name: distribution(d) for d in space().dimensions()}
    trials: list[FrozenTrial] = []
    for number in range(8):
        found = one.propose(trials)
        assert found is not None
        made = create_trial(
            value=0.5, params=found.values, distributions=kinds, user_attrs=dict(found.tags)
        )
        made.number = number
        trials.append(made)
    assert [len(s) for s in seen] == list(range(8))
    last = seen[-1]
    assert [t.user_attrs.get("place") for t in last] == [None] * 4 + [4, 5, 6]


Make = Callable[..., Path]
SEARCH = {"knobs": {"weight": [0.0, 1.5]}, "bands": 4, "refine": {"start": 1, "every": 3}}


def study(small_study: Make, out: str, trials: int) -> Path:
    return small_study("reasoning", out=out, compare=False, search=SEARCH, trials=trials)


def test_a_study_refines_and_says_how_and_goes_on_between_two_stages(
    small_study: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = read_study(study(small_study, "refined", trials=19))
    told = run_study(whole)["refined"]
    err = capfd.readouterr().err
    assert [stage["trials"] for stage in told] == [3, 3, 2]  # 11 are the published grid's
    assert (told[0]["first_layers"], told[0]["stays"]) == ([0], None)
    assert (told[1]["first_layers"], told[1]["cut_at_layer"]) == ([0, 3], 3)
    assert told[1]["stays"] in (True, False)
    assert "from 1 to 4 bands, 3 trials for each cut" in err
    assert "the cut at layer 3" in err
    first = read_trials(whole.out)
    assert {len(t.params) for t in first} == {8}  # a trial is a point of the finest space
    run_study(read_study(study(small_study, "refined-broken", trials=17)))
    again = read_study(study(small_study, "refined-broken", trials=19))
    run_study(again, accept_changes=True)
    assert [t.params for t in first] == [t.params for t in read_trials(again.out)]


@pytest.mark.parametrize(
    ("search", "sampler", "words"),
    [
        ({"bands": 2, "refine": {"start": 2}}, "tpe", "from few bands"),
        ({"curve": 3, "refine": {}}, "tpe", "from few bands"),
        ({"bands": 2, "refine": {}}, "grid", "a grid tries every point"),
    ],
)
def test_what_cannot_be_refined(
    small_study: Make, search: dict[str, Any], sampler: str, words: str
) -> None:
    content = {"knobs": {"weight": [0.0, 1.5]}, **search}
    path = small_study("reasoning", out="unrefined", search=content, sampler=sampler)
    with pytest.raises(UserError, match=words):
        read_study(path)


def test_a_file_without_the_key_keeps_its_digest(small_study: Make) -> None:
    config = read_study(small_study("reasoning", out="older")).config
    assert "refine" not in config.model_dump()["search"]
    assert "refine" not in config.model_dump(mode="json")["search"]
