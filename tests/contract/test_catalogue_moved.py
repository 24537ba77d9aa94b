"""A catalogue copied from SQLite to PostgreSQL and back: the same rows, or nothing at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from asynchy.catalogue import Catalogue
from asynchy.catalogue.dashboard_tables import metadata, samples
from asynchy.catalogue.database import Database
from asynchy.catalogue.moving import copy_catalogue
from asynchy.catalogue.scans import ScanWriter
from asynchy.catalogue.schema import held, visits
from asynchy.errors import CatalogueError
from asynchy.model.catalogue_address import PostgresAddress
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment, LocatedExperiment
from asynchy.model.verification import Level
from tests.tools.catalogues import new_catalogue
from tests.tools.postgres import server

NOW = datetime(2026, 12, 1, 13, 5, 59, 123456, tzinfo=UTC)
ONE = Experiment("mx", Epn("12282a"))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A catalogue in SQLite with a row of each awkward kind."""
    path = tmp_path / "catalogue.db"
    catalogue = new_catalogue(path)
    place = tmp_path / "ny79" / "12282a" / "data"
    number = catalogue.acquire_lease(Copy(ONE, "ny79", "/data/mx/12282a", tmp_path / "ny79", place))
    assert isinstance(number, int)
    catalogue.leases.release(number)
    catalogue.decisions.release(ONE, "said\0so, ☃", NOW)
    walk = ScanWriter.begin(path, "walk", "there")
    identity, _ = walk.experiment(LocatedExperiment(ONE, "/data/mx/12282a"))
    walk.add(identity, [(b"\xff\x00/%d" % at, 2**62 + at, -5, None) for at in range(3000)])
    walk.end(0.125)
    with Database.open(path).transaction() as db:
        db.execute(insert(samples), [{"seconds": 60, "at": 0, "bytes": 2**50}])
        db.execute(insert(held), [
            {"copy_id": number, "path": b"b", "size": 1, "modified": 2, "level": Level.SOURCE,
             "checked": 3, "sha256": bytes(32)},
        ])  # fmt: skip
        db.execute(insert(visits), [
            {"equipment": 23, "visit": "7", "epn": "12282a", "beamline": "mx", "start": NOW,
             "end": NOW, "title": "Zoë", "principal": None, "scientists": [{"a": "\0"}],
             "told": NOW},
        ])  # fmt: skip
    return path


def empty_place(tmp_path: Path) -> PostgresAddress:
    return server().address(server().new_database(), tmp_path / "catalogue")


def test_a_catalogue_is_the_same_after_it_went_to_postgresql_and_back(
    filled: Path, tmp_path: Path
) -> None:
    shared, back = empty_place(tmp_path), tmp_path / "back.db"
    there = copy_catalogue(filled, shared)
    again = copy_catalogue(shared, back)
    assert there == again
    assert {one.name: one.rows for one in there}["files"] == 3000
    for table in metadata.sorted_tables:
        query = select(table).order_by(*table.primary_key.columns)
        found = []
        for place in (filled, shared, back):
            with Database.open_readonly(place).looking() as db:
                found.append([tuple(row) for row in db.execute(query)])
        assert repr(found[0]).replace("\\x00s", "\ufffds") == repr(found[1]), table.name
        assert found[1] == found[2], table.name
    assert not list(tmp_path.glob(".*"))


def test_new_rows_are_numbered_after_those_that_were_copied(filled: Path, tmp_path: Path) -> None:
    shared = empty_place(tmp_path)
    copy_catalogue(filled, shared)
    Catalogue.open(shared).decisions.release(Experiment("mx", Epn("1a")), "why", NOW)
    assert ScanWriter.begin(shared, "walk", "elsewhere").id == 2


def test_a_place_that_is_not_empty_is_refused_and_stays_as_it_is(
    filled: Path, tmp_path: Path
) -> None:
    shared = empty_place(tmp_path)
    copy_catalogue(filled, shared)
    for source, target in ((filled, shared), (shared, filled)):
        with pytest.raises(CatalogueError, match="is not empty"):
            copy_catalogue(source, target)
    with pytest.raises(CatalogueError, match="has no catalogue"):
        copy_catalogue(tmp_path / "none.db", tmp_path / "new.db")


KILLED = """
import sys
from pathlib import Path
from asynchy.catalogue import moving
from asynchy.model.catalogue_address import parse_postgres
real = moving._set_counter
def then_wait(db, table):
    real(db, table)
    if table.name == "files":
        print("half", flush=True)
        sys.stdin.read()
moving._set_counter = then_wait
moving.copy_catalogue(Path(sys.argv[1]), parse_postgres(sys.argv[2], Path("/nonexistent")))
"""


def test_a_copy_that_is_killed_leaves_the_source_whole_and_nothing_at_the_target(
    filled: Path, tmp_path: Path
) -> None:
    shared, before = empty_place(tmp_path), filled.read_bytes()
    line = [sys.executable, "-c", KILLED, str(filled), shared.url]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as copying:
        assert copying.stdout is not None
        assert copying.stdout.readline() == b"half\n"
        copying.send_signal(signal.SIGKILL)
    assert filled.read_bytes() == before
    copy_catalogue(filled, shared)
