"""A ledger on a database server, where one is named: kills, and connections that the server ends.

MERGETUNA_TEST_STORAGE=postgresql+psycopg://user@127.0.0.1/empty with MERGETUNA_STORAGE_PASSWORD;
the searches called `one/...` there are deleted first.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from studies.journal import read_trials
from studies.place import Address, Place
from studies.run import run_study
from studies.setup import read_study
from studies.storage import begin_storage, open_storage
from tests.forked import start
from tests.test_kills import Killer, check_end, facts
from tests.test_storage import TRIALS, write

MakeStudy = Callable[..., Path]
URL = os.environ.get("MERGETUNA_TEST_STORAGE", "")
pytestmark = pytest.mark.skipif(not URL, reason="MERGETUNA_TEST_STORAGE names no server")


@pytest.fixture(scope="module")
def journal(small_study: MakeStudy) -> Path:
    """Folder of a study with a journal."""
    study = read_study(write(small_study, "beside-server"))
    assert run_study(study)["trials"] == TRIALS
    return study.out


@pytest.fixture(autouse=True)
def empty(tmp_path: Path) -> None:
    """No search of an earlier test."""
    begin_storage(tmp_path, Address(URL, "none"))  # makes the tables
    storage = open_storage(Place(URL, "none", "none"))._storage
    for name in optuna.get_all_study_names(storage):
        if name.startswith("one/"):
            optuna.delete_study(study_name=name, storage=storage)


def test_a_killed_study_loses_and_doubles_nothing_on_a_server(
    journal: Path, small_study: MakeStudy
) -> None:
    path = write(small_study, "on-server", storage=URL)
    expected = [facts(trial) for trial in read_trials(journal)]
    killer = Killer(start, 2.5, random.Random(5), expected)
    killer.work(path, 6)
    killer.finish(path)
    check_end(read_study(path).out, journal, expected)


def test_a_server_that_takes_no_more_connections_stops_the_study_which_goes_on_later(
    journal: Path, small_study: MakeStudy
) -> None:
    path = write(small_study, "shut-out", storage=URL)
    database = make_url(URL).database

    def allow(answer: str) -> None:
        secret = os.environ.get("MERGETUNA_STORAGE_PASSWORD")
        beside = make_url(URL).set(database="postgres", password=secret)
        engine = create_engine(beside, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"alter database {database} allow_connections {answer}"))

    running = start(path)
    running.wait_for_trials(4)
    allow("false")
    try:
        assert running.wait() == 2
        assert "cannot be reached there (OperationalError: " in running.said.read_text()
    finally:
        allow("true")
    told = 4 + running.count()
    assert len(read_trials(read_study(path).out)) == told < TRIALS
    assert start(path).wait() == 0
    expected = [facts(trial) for trial in read_trials(journal)]
    check_end(read_study(path).out, journal, expected)
