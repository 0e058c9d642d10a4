"""A ledger in an Optuna storage: the same study as in its folder's journal, and as safe."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, create_trial
from typer.testing import CliRunner

from merge_ops.errors import UserError
from merge_ops.registry import Value
from objectives.guard import Decision
from objectives.statistics import Interval
from search.dimension import Choice, Coordinate, Dimension
from studies import cli
from studies.journal import JOURNAL, read_ledger, read_trials
from studies.ledger import Ledger, Outcome
from studies.place import PLACE, Address, checked_address
from studies.run import run_study
from studies.secrets import PASSWORD, without_secrets
from studies.setup import read_study
from studies.storage import probe
from studies.storage_setup import address_of
from studies.study import Study
from tests.forked import start
from tests.test_kills import Killer, facts, found
from tests.test_ledger import DIMENSIONS, SETS, outcome

MakeStudy = Callable[..., Path]
TRIALS = 13  # eleven of the published grid, then the sampler's


def write(small_study: MakeStudy, out: str, trials: int = TRIALS, **changes: Any) -> Path:
    path = small_study(
        "preference",
        out=out,
        trials=trials,
        compare=False,
        racing={"rule": "off", "block": 2},
        **changes,
    )
    text = path.read_text().replace("limit: 24", "limit: 8").replace(f"name: {out}", "name: one")
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty storage, for its tables take seconds to make."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    optuna.get_all_study_names(f"sqlite:///{path}")
    return path


@pytest.fixture
def url(database: Path, tmp_path: Path) -> str:
    """A fresh one."""
    path = tmp_path / "fresh.db"
    path.write_bytes(database.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def journal(small_study: MakeStudy) -> Path:
    """Folder of a study with a journal."""
    study = read_study(write(small_study, "in-journal"))
    assert run_study(study)["trials"] == TRIALS
    return study.out


@pytest.fixture(scope="module")
def stored(small_study: MakeStudy, demo_folder: Path, database: Path) -> Path:
    """File of the same study in a storage."""
    (demo_folder / "night.db").write_bytes(database.read_bytes())
    path = write(small_study, "in-storage", storage="sqlite:///night.db")
    run_study(read_study(path))
    return path


def test_a_study_in_a_storage_is_the_study_in_a_journal(journal: Path, stored: Path) -> None:
    out = read_study(stored).out
    assert not (out / JOURNAL).exists()
    assert [facts(t) for t in read_trials(out)] == [facts(t) for t in read_trials(journal)]
    assert found(out) == found(journal)


def test_optuna_opens_it_under_the_name_of_the_study(stored: Path) -> None:
    theirs = optuna.load_study(
        study_name="one/search", storage=f"sqlite:///{stored.parent / 'night.db'}"
    )
    assert len(theirs.trials) == TRIALS
    assert theirs.best_trial.duration is not None


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "trials",
        "best",
        "sync --uri sqlite:///{tmp}/mlflow.db",
        "report --out {tmp}/x.html",
    ],
)
def test_every_reader_finds_it_by_the_folder(stored: Path, tmp_path: Path, command: str) -> None:
    name, *options = command.format(tmp=tmp_path).split()
    done = CliRunner().invoke(cli.app, [name, str(read_study(stored).out), "--json", *options])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    if name == "status":
        assert (told["state"], told["trials"]) == ("finished", {"search": TRIALS})
    if name == "trials":
        assert [t["number"] for t in told] == [*range(TRIALS)]
    if name == "sync":
        assert told["written"] == TRIALS


@pytest.mark.slow
def test_python_and_a_second_study_find_it(stored: Path, small_study: MakeStudy) -> None:
    assert len(Study(stored).dataframe()) == TRIALS
    other = write(
        small_study, "after", 2, warm_start=[{"study": str(read_study(stored).out), "best": 2}]
    )
    trials = run_study(read_study(other))["trials"]
    assert trials == 2
    sources = [t.user_attrs["source"] for t in read_trials(read_study(other).out)]
    assert sources == ["warm start"] * 2


def test_another_storage_for_the_same_study_is_refused(
    stored: Path,
) -> None:
    text = stored.read_text()
    try:
        stored.write_text(text.replace("storage: sqlite:///night.db\n", ""))
        with pytest.raises(UserError, match=r"storage: was .*this changes where trials are"):
            run_study(read_study(stored), accept_changes=True)
    finally:
        stored.write_text(text)


@pytest.mark.usefixtures("stored")
def test_a_study_of_the_same_name_from_another_folder_is_refused(
    small_study: MakeStudy,
) -> None:
    other = write(small_study, "rival", storage="sqlite:///night.db")
    with pytest.raises(UserError, match="'one/search' that another folder began"):
        run_study(read_study(other))
    assert not (read_study(other).out / PLACE).exists()


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_a_killed_study_loses_and_doubles_nothing(
    journal: Path, small_study: MakeStudy, database: Path, demo_folder: Path, kills: int
) -> None:
    (demo_folder / f"killed-{kills}.db").write_bytes(database.read_bytes())
    path = write(small_study, f"stored-{kills}", storage=f"sqlite:///killed-{kills}.db")
    expected = [facts(trial) for trial in read_trials(journal)]
    killer = Killer(start, 2.5, random.Random(3), expected)
    killer.work(path, kills)
    killer.finish(path)
    out = read_study(path).out
    assert [facts(t) for t in read_trials(out)] == expected
    assert found(out) == found(journal)
    assert not list(out.glob("half-scored-*"))


def test_a_storage_that_vanishes_stops_the_study_which_goes_on_later(
    journal: Path,
    small_study: MakeStudy,
    database: Path,
    demo_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The trial that could not be told is not scored again: its blocks are in the folder."""
    file = demo_folder / "vanishing.db"
    file.write_bytes(database.read_bytes())
    path = write(small_study, "vanished", 6, storage="sqlite:///vanishing.db")
    tell, head = Ledger.tell, bytearray()

    def telling(self: Ledger, told: Outcome) -> FrozenTrial:
        if len(self.trials) == 4:
            with file.open("r+b") as stream:
                head[:] = stream.read(100)
                stream.seek(0)
                stream.write(b"?" * 100)
        return tell(self, told)

    monkeypatch.setattr(Ledger, "tell", telling)
    patient = SimpleNamespace(sleep=lambda _: None)  # Optuna itself tries five times
    monkeypatch.setattr("optuna.storages._rdb.storage.time", patient)
    with pytest.raises(
        UserError, match=r"cannot be reached there .DatabaseError: file is not a d"
    ):
        run_study(read_study(path))
    out = read_study(path).out
    done = CliRunner().invoke(cli.app, ["trials", str(out)])
    assert isinstance(done.exception, UserError)
    monkeypatch.setattr(Ledger, "tell", tell)
    with file.open("r+b") as stream:
        stream.write(head)
    assert len(read_trials(out)) == 4
    capsys.readouterr()
    assert run_study(read_study(path))["trials"] == 6
    assert "trial 4 goes on behind 4 blocks scored before" in capsys.readouterr().err
    assert [facts(t) for t in read_trials(out)] == [facts(t) for t in read_trials(journal)][:6]


def attributes(trial: FrozenTrial) -> dict[str, Any]:
    return {k: v for k, v in trial.user_attrs.items() if k != "seconds"}


def test_points_constraints_and_several_values_are_the_same_as_in_a_journal(
    tmp_path: Path, url: str
) -> None:
    dimensions: list[Coordinate] = [
        Dimension("log", 0.1, 9.0, 1.0, log=True),
        Choice("rule", ("sum", "count"), "sum"),
    ]
    point: dict[str, Value] = {"log": 0.1 + 0.2, "rule": "count"}
    held = Decision("undecided", 0.125, Interval(0.0, -0.1, 0.1))
    told = []
    for name, address in (("journal", None), ("storage", Address(url, "both"))):
        folder = tmp_path / name
        folder.mkdir()
        for search, front in (("search", {}), ("global", {"a": 0.25, "b": 0.75})):
            ledger = Ledger(
                folder, search, dimensions, objectives=max(1, len(front)), address=address
            )
            one = Outcome(point, "d", "tpe", SETS, 0.1 + 0.7, "", {"score": 0.25}, {"k": 3})
            ledger.tell(replace(one, guards={"g": held}, front=front))
            ledger.tell(replace(one, value=None, reason="boom", sets=()))
            ledger.claim("digest")
            assert ledger.keep_sampler("tpe") == "tpe"
            assert [*ledger.trials] == read_trials(folder, search)
        known = read_ledger(folder)
        assert not known.torn
        trials = [
            [
                (t.values, t.params, attributes(t), t.constraints, t.state, t.distributions)
                for t in own
            ]
            for own in known.searches.values()
        ]
        told.append((dict(known.claims), known.samplers, trials))
    assert told[0] == told[1]


def test_a_search_whose_beginning_was_cut_short_is_gone_on_with(tmp_path: Path, url: str) -> None:
    """Killed between the search and its mark."""
    out = tmp_path / "out"
    out.mkdir()
    Ledger(out, "search", DIMENSIONS, address=Address(url, "night"))
    optuna.create_study(storage=url, study_name="night/global", direction="maximize")
    assert set(read_ledger(out).searches) == {"search"}
    Ledger(out, "global", DIMENSIONS, address=Address(url, "night")).tell(outcome(0.1))
    assert len(read_trials(out, "global")) == 1


def test_a_second_writer_is_found_out(tmp_path: Path, url: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    ledger = Ledger(out, "search", DIMENSIONS, address=Address(url, "night"))
    ledger.tell(outcome(0.1))
    theirs = optuna.load_study(study_name="night/search", storage=url)
    theirs.add_trial(create_trial(value=1.0))
    with pytest.raises(UserError, match="something else has written to 'night/search'"):
        ledger.tell(outcome(0.2))
    theirs.ask()
    with pytest.raises(UserError, match="something else has written to 'night/search'"):
        read_trials(out)


def test_a_ledger_is_not_begun_in_two_places(tmp_path: Path, url: str) -> None:
    address = Address(url, "night")
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    Ledger(one, "search", DIMENSIONS)
    with pytest.raises(UserError, match="trials are not moved"):
        Ledger(one, "search", DIMENSIONS, address=address)
    Ledger(other, "search", DIMENSIONS, address=address)
    for wrong in (None, Address(f"{url}2", "night")):
        with pytest.raises(UserError, match="trials are not moved"):
            Ledger(other, "search", DIMENSIONS, address=wrong)


def test_a_file_that_has_gone_does_not_come_back_empty(tmp_path: Path, url: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    Ledger(out, "search", DIMENSIONS, address=Address(url, "night"))
    (tmp_path / "fresh.db").unlink()
    for call in (
        read_trials,
        lambda _: Ledger(out, "search", DIMENSIONS, address=Address(url, "night")),
    ):
        with pytest.raises(UserError, match=r"cannot be reached there .*there is no such file"):
            call(out)
    assert not (tmp_path / "fresh.db").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("night.db", "an address of a database is wanted"),
        ("sqlite://", "a ledger in memory"),
        ("sqlite:///:memory:", "a ledger in memory"),
        ("postgresql://me:secret@host/db", "no place for a password"),
        ("postgresql://host/db?user=me&password=secret", "no place for a password"),
    ],
)
def test_addresses_that_will_not_do_are_refused(
    small_study: MakeStudy, address: str, message: str
) -> None:
    path = write(small_study, "refused", storage=address)
    with pytest.raises(UserError, match=rf"refused.yaml:\d+:\d+: storage: .*{message}") as caught:
        read_study(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["sqlite:///a.db", "postgresql+psycopg://me@host:5432/db", "mysql://host/db"]
)
def test_addresses_of_databases_are_taken(address: str) -> None:
    assert checked_address(address) == address


def test_mlflows_own_database_is_refused(small_study: MakeStudy) -> None:
    path = write(small_study, "both", storage="sqlite:///mlflow.db", tracking={"enabled": True})
    with pytest.raises(
        UserError, match=r"both.yaml:\d+:\d+: storage: must not be the database of"
    ):
        address_of(read_study(path))


def test_a_storage_that_cannot_be_reached_is_one_line_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "secret")
    with pytest.raises(UserError) as caught:
        Ledger(tmp_path, "search", DIMENSIONS, address=Address("nosuch://me@host/db", "night"))
    assert "cannot be reached there" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    for nowhere in ("nosuch://me@host/db", "sqlite:////nowhere/night.db"):
        with pytest.raises(UserError, match="cannot be reached there"):
            probe(Address(nowhere, "night"))
    probe(Address(f"sqlite:///{tmp_path}/night.db", "night"))
    assert list(tmp_path.iterdir()) == []
    assert without_secrets("x://me:other@host: bad secret") == "x://me:***@host: bad ***"
