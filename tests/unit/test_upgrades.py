"""A catalogue of any older version becomes one of this version, and keeps what it knows."""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

import asynchy.catalogue
from asynchy.catalogue import Catalogue
from asynchy.catalogue.dashboard_tables import metadata
from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import REVISION
from asynchy.catalogue.state_markers import Markers, StateMarkers
from asynchy.errors import CatalogueError
from asynchy.localfs import process_identity
from asynchy.model.attempt import Verdict
from asynchy.model.copy_record import CopyRecord
from asynchy.model.epn import Epn
from asynchy.model.event import EventKind
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import DueNote, ExperimentRecord
from asynchy.model.experiment_state import experiment_state
from asynchy.model.plan import DueCopy, DueReason, Skipped, SkipReason
from asynchy.model.policy import (
    DestinationRules,
    IgnoreEntry,
    Origin,
    Policy,
    owners_of,
    running_visits,
)
from asynchy.model.verification import Level
from asynchy.repatriation.due_rules import planned

_STEPS = Path(asynchy.catalogue.__file__).parent / "migrations" / "versions"
OLDER = sorted(path.name[:4] for path in _STEPS.glob("0*.py") if path.name[:4] < REVISION)
BEFORE_OBLIGATIONS = [revision for revision in OLDER if revision < "0011"]
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def at(days: int) -> str:
    """A time as SQLAlchemy stores it."""
    return (DAY + timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")


@functools.cache
def made(revision: str) -> bytes:
    """An empty catalogue of an older version."""
    config = Config()
    folder = Path(asynchy.catalogue.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "catalogue.db"
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as db:
            config.attributes["connection"] = db
            command.upgrade(config, revision)
        engine.dispose()
        return path.read_bytes()


class Old:
    """A catalogue of an older version; rows are given by the columns that matter."""

    def __init__(self, path: Path, revision: str) -> None:
        self.path, self.revision = path, revision
        path.write_bytes(made(revision))

    def has(self, revision: str) -> bool:
        """Whether it has what came with a version."""
        return self.revision >= revision

    def add(self, table: str, **values: Any) -> None:
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))

    def experiment(self, number: int, epn: str, beamline: str = "mx", **more: Any) -> None:
        self.add(
            "experiments", id=number, beamline=beamline, epn=epn, proposal=epn[:-1],
            source=f"/data/{beamline}/{epn}", first_seen=at(0), last_seen=at(1), **more,
        )  # fmt: skip

    def copy(
        self, number: int, experiment: int, destination: str, completed: int | None, **more: Any
    ) -> None:
        when = None if completed is None else at(completed)
        self.add(
            "copies", id=number, experiment_id=experiment, project="ny79", destination=destination,
            completed=when, completed_listing=when, files=7, bytes=8, fingerprint="f", **more,
        )  # fmt: skip

    def attempt(self, copy: int, verdict: str, ended: int, reason: str | None = None) -> None:
        self.add(
            "attempts", copy_id=copy, started=at(ended - 1), ended=at(ended), host="old", pid=7,
            engine="rsync", check="size", compare="time", verdict=verdict, exit_code=0, files=1,
            bytes=2, listed_at=at(ended - 1), listed_files=7, listed_bytes=8, reason=reason,
            stderr="said",
        )  # fmt: skip

    def visit(self, number: int, epn: str, beamline: str, end: int) -> None:
        self.add(
            "visits", equipment=23, visit=str(number), epn=epn, beamline=beamline,
            start=at(end - 1), end=at(end), title="t", principal="null", scientists="[]",
            told=at(end),
        )  # fmt: skip

    def due(self, epn: str, project: str, since: int, reason: str) -> None:
        self.add("due", epn=epn, project=project, since=at(since), latest=at(9), reason=reason)


@pytest.fixture(params=OLDER)
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Old]:
    yield Old(tmp_path / "catalogue.db", request.param)


@pytest.fixture(params=BEFORE_OBLIGATIONS)
def before(tmp_path: Path, request: pytest.FixtureRequest) -> Old:
    """Of a version before experiments, entries and places were what they are since 0011."""
    return Old(tmp_path / "catalogue.db", request.param)


@pytest.fixture
def latest(tmp_path: Path) -> Old:
    """Of the last of those versions."""
    return Old(tmp_path / "catalogue.db", BEFORE_OBLIGATIONS[-1])


def records(catalogue: Catalogue) -> dict[str, ExperimentRecord]:
    return {f"{one.epn} {one.experiment.beamline}": one for one in catalogue.overview.records()}


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def described(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What a database has; in which order a table has its columns does not matter."""
    found = {"all": rows(path, "SELECT type, name FROM sqlite_master ORDER BY 1, 2")}
    for name, code in rows(path, "SELECT name, sql FROM sqlite_master WHERE type <> 'table'"):
        found[name] = [
            (code and code.strip(),),
            *rows(path, f"SELECT name FROM pragma_index_info('{name}')"),
        ]
    for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'"):
        columns = "name, type, \"notnull\", trim(dflt_value, '''') AS value, pk"
        keys = 'SELECT "table", "from", "to" FROM'
        found[name] = [
            *rows(path, f"SELECT {columns} FROM pragma_table_info('{name}') ORDER BY 1"),
            *rows(path, f"SELECT wr FROM pragma_table_list('{name}')"),
            *rows(path, f"{keys} pragma_foreign_key_list('{name}') ORDER BY 1, 2"),
        ]
    return found


def test_a_new_catalogue_has_what_the_migrations_make(tmp_path: Path) -> None:
    migrated, new = Old(tmp_path / "migrated.db", REVISION).path, tmp_path / "new.db"
    Database.open(new)
    assert described(new) == described(migrated)
    version = "SELECT * FROM alembic_version"
    assert rows(new, version) == rows(migrated, version) == [(REVISION,)]


def test_every_older_version_becomes_this_one_and_keeps_a_copy_of_itself(old: Old) -> None:
    old.experiment(1, "12282a")
    with pytest.raises(CatalogueError, match=f"older version of asynchy .schema {old.revision}"):
        Catalogue.open_readonly(old.path)
    before = old.path.read_bytes()
    assert [one.epn.text for one in Catalogue.preview(old.path).overview.records()] == ["12282a"]
    assert old.path.read_bytes() == before
    with Database.open(old.path).transaction() as db:
        assert compare_metadata(MigrationContext.configure(db), metadata) == []
    assert [one.epn.text for one in Catalogue.open_readonly(old.path).overview.records()] == [
        "12282a"
    ]
    kept = old.path.with_name(f"catalogue.db.{old.revision}")
    assert rows(kept, "SELECT version_num FROM alembic_version") == [(old.revision,)]
    assert rows(kept, "SELECT epn FROM experiments") == [("12282a",)]


def test_copies_attempts_and_claims_of_every_older_version_stay(old: Old) -> None:
    old.experiment(1, "12282a")
    old.experiment(2, "12282b")
    old.copy(1, 1, "/p/ny79/12282a/data", 3)
    old.copy(2, 2, "/p/ny79/12282b/data", None)
    old.attempt(1, "failed", 2, "disk full")
    old.attempt(1, "complete", 3)
    old.attempt(2, "stopped", 4, "stopped")
    pid, identity = process_identity.own_process()
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    old.add(
        "claims", copy_id=2, host=process_identity.host(), pid=pid, process=identity, since=now,
        heartbeat=now,
    )  # fmt: skip
    catalogue = Catalogue.open(old.path)
    found = records(catalogue)
    (first,), (second,) = found["12282a mx"].copies, found["12282b mx"].copies
    assert (first.completed, first.listed) == (DAY + timedelta(days=3),) * 2
    assert (first.files, first.bytes, first.attempts, first.level) == (7, 8, 2, None)
    assert first.last is not None and first.last.verdict is Verdict.COMPLETE
    assert (first.suspect, first.damaged, first.forgotten, first.losses) == (False, 0, None, None)
    assert first.copy.source == "/data/mx/12282a"
    assert first.copy.project_folder == Path("/p/ny79/12282a")  # it was not stored before
    assert (second.completed, second.attempts, second.unfinished) == (None, 1, True)
    assert second.claim is not None and second.claim.pid == pid
    verdicts = [(one.verdict, one.reason) for _, one in catalogue.history.attempts_of("12282a")]
    assert verdicts == [(Verdict.FAILED, "disk full"), (Verdict.COMPLETE, None)]


def test_entries_of_completed_epns_are_ours_and_others_are_the_originals(before: Old) -> None:
    for number, epn in enumerate(("12282a", "12282b", "12282c"), 1):
        before.experiment(number, epn)
    before.copy(1, 1, "/p/1", 3)
    before.copy(2, 1, "/p/2", 5)
    before.copy(3, 2, "/p/3", None)
    catalogue, now = Catalogue.open(before.path), datetime.now(UTC)
    found = catalogue.ignore_entries.compare(dict.fromkeys(("12282a", "12282b")), now)
    assert found == {
        "12282a": IgnoreEntry(Origin.OURS, DAY + timedelta(days=5)),
        "12282b": IgnoreEntry(Origin.ORIGINAL, now),
    }
    taken_out = catalogue.ignore_entries.compare({}, now)
    assert {epn: one.origin for epn, one in taken_out.items()} == {"12282a": Origin.REMOVED}


def test_a_catalogue_with_copies_was_in_use_and_one_without_is_new(before: Old) -> None:
    before.experiment(1, "12282a")
    other = Old(before.path.with_name("other.db"), before.revision)
    other.experiment(1, "12282a")
    other.copy(1, 1, "/p/1", None)
    assert StateMarkers.open(before.path).read() == Markers()
    assert StateMarkers.open(other.path).read() == Markers(in_use=True)


@pytest.mark.parametrize(
    "before", BEFORE_OBLIGATIONS[4:], indirect=True
)  # the table came with 0005
def test_what_was_due_keeps_since_when_and_why_with_its_beamline(before: Old) -> None:
    before.experiment(1, "12282a")
    before.experiment(2, "12282b", "saxs")
    before.due("12282a", "ny79", 2, "disk full")
    before.due("12282a", "other", 1, "not enough free space")  # its project has changed since
    before.due("12282b", "kx12", 3, "cut off")
    before.due("12283a", "kx12", 4, "the project folder is not there")
    if before.has("0008"):
        before.visit(1, "12283a", "imbl", 3)
        before.visit(2, "12283a", "saxs", 5)
    catalogue = Catalogue.open(before.path)
    found = records(catalogue)

    def note(project: str, since: int, reason: str) -> DueNote:
        latest = DAY + timedelta(days=9)
        return DueNote(project, DAY + timedelta(days=since), latest, reason)

    assert found["12282a mx"].note == note("other", 1, "not enough free space")
    assert found["12282b saxs"].note == note("kx12", 3, "cut off")
    if before.has("0008"):
        assert found["12283a saxs"].note == note("kx12", 4, "the project folder is not there")
    assert rows(before.path, "SELECT count(*) FROM due") == [(3,)]
    assert rows(before.path, "SELECT name FROM sqlite_master WHERE name = 'due_by_epn'") == []


@pytest.mark.parametrize(
    "before", BEFORE_OBLIGATIONS[2:], indirect=True
)  # the column came with 0003
def test_what_an_original_called_complete_holds_up_to_when_it_was_last_seen(before: Old) -> None:
    before.experiment(1, "12282a", completed_elsewhere=1)
    before.experiment(2, "12282b")
    found = records(Catalogue.open(before.path))
    assert found["12282a mx"].elsewhere_since == DAY + timedelta(days=1)
    assert found["12282b mx"].elsewhere_since is None


def test_an_epn_that_was_stored_in_capitals_is_found_in_small_letters(latest: Old) -> None:
    latest.experiment(1, "12282A")
    latest.experiment(2, "12283B")
    latest.experiment(3, "12283b")  # the same one
    latest.copy(1, 1, "/p/12282A/data", 3)
    latest.copy(2, 2, "/p/12283B/data", 3)
    latest.visit(1, "12282A", "mx", 2)
    latest.visit(2, "99999Z", "mx", 2)
    latest.due("12282A", "ny79", 2, "cut off")
    latest.add("reported", epn="99999Z", first=at(1), latest=at(2), times=2)
    latest.add("mails", created=at(3), message=b"m", epns="99999Z 1A")
    catalogue = Catalogue.open(latest.path)
    found = records(catalogue)
    assert found.keys() == {"12282a mx", "12283b mx", "99999z mx"}
    assert len(found["12282a mx"].copies) == len(found["12283b mx"].copies) == 1
    assert len(found["12282a mx"].beamtimes) == 1
    note = found["12282a mx"].note
    assert note is not None and note.reason == "cut off"
    entries = catalogue.ignore_entries.compare(
        dict.fromkeys(("12282a", "12283b")), datetime.now(UTC)
    )
    assert {one.origin for one in entries.values()} == {Origin.OURS}
    assert catalogue.notifications.reported().keys() == {Epn("99999z")}
    mail = catalogue.notifications.pending()
    assert mail is not None and mail.epns == (Epn("99999z"), Epn("1a"))


@pytest.mark.parametrize("revision", ["0010", "0023"])
def test_an_epn_with_a_row_in_capitals_and_one_in_small_letters_gets_one_row(
    tmp_path: Path, revision: str
) -> None:
    old = Old(tmp_path / "catalogue.db", revision)
    old.experiment(1, "12283B", completed_elsewhere=1)
    old.experiment(2, "12283b")
    old.experiment(3, "12283b", "saxs")
    old.add("files", experiment_id=1, path=b"a", size=1, modified=2, since=1, seen=1)
    old.copy(1, 1, "/p/12283B/data", 3)
    old.copy(2, 2, "/p/12283b/data", 4)
    old.copy(3, 1, "/p/both", 5)
    shared = {"forgotten": at(6)} if old.has("0011") else {}
    old.copy(4, 2, "/p/both", 4, **shared)
    old.attempt(3, "complete", 5)
    old.attempt(4, "complete", 4)
    catalogue = Catalogue.open(old.path)
    assert rows(old.path, "SELECT id, epn FROM experiments ORDER BY id") == [
        (2, "12283b"),
        (3, "12283b"),
    ]
    assert rows(old.path, "SELECT * FROM files") == []
    copies = catalogue.overview.copies(["12283b"])
    assert [str(one.copy.destination) for one in copies] == [
        "/p/12283B/data", "/p/12283b/data", "/p/both",
    ]  # fmt: skip
    assert copies[2].attempts == 2
    found = records(catalogue)
    assert len(found["12283b mx"].copies) == 3 and found["12283b mx"].completed_elsewhere
    catalogue.acquire_lease(copies[0].copy)
    assert rows(old.path, "PRAGMA foreign_key_check") == []


def test_levels_files_and_visits_stay(latest: Old) -> None:
    latest.experiment(1, "12282a")
    latest.copy(1, 1, "/p/1", 3, level=3, verified=at(4), damaged=0, doubted=0)
    latest.add("held", copy_id=1, path=b"a", size=1, modified=2, level=3, checked=9)
    latest.visit(1, "12282a", "mx", 2)
    catalogue = Catalogue.open(latest.path)
    (record,) = catalogue.overview.records()
    (copy,) = record.copies
    assert (copy.level, copy.verified) == (Level.SOURCE, DAY + timedelta(days=4))
    assert [row.path for row in catalogue.copy_files(1).everything()] == [b"a"]
    assert [item.visit.end for item in record.beamtimes] == [DAY + timedelta(days=2)]
    assert catalogue.overview.answered_until() == {}  # the portal is asked once as before


def kept_of(old: Old) -> dict[int, CopyRecord]:
    return {one.id: one for one in Catalogue.open(old.path).overview.copies()}


@pytest.mark.parametrize(
    ("first", "second", "keeps"),
    [(3, 5, 2), (5, 3, 1), (3, None, 1), (None, 3, 2), (None, None, 2), (3, 3, 2)],
)
def test_of_two_copies_with_one_destination_the_later_complete_one_keeps_it(
    before: Old, first: int | None, second: int | None, keeps: int
) -> None:
    before.experiment(1, "12282a", "mx")
    before.experiment(2, "12282a", "saxs")
    before.copy(1, 1, "/p/12282a/data", first)
    before.copy(2, 2, "/p/12282a/data", second)
    before.copy(3, 2, "/p/elsewhere", None)
    if before.has("0007"):
        for copy in (1, 2, 3):
            before.add("held", copy_id=copy, path=b"a", size=1, modified=2, checked=9)
    assert kept_of(before).keys() == {keeps, 3}
    lost = 3 - keeps
    ((reason, when, completed, fingerprint),) = rows(
        before.path,
        f"SELECT forget_reason, forgotten, completed, fingerprint FROM copies WHERE id = {lost}",
    )
    assert reason == "another experiment has the same destination (found by an upgrade)"
    assert when is not None and (completed, fingerprint) == (None, None)
    held = {copy for (copy,) in rows(before.path, "SELECT copy_id FROM held")}
    assert held == ({keeps, 3} if before.has("0007") else set())


def test_of_many_copies_with_one_destination_one_keeps_it(before: Old) -> None:
    for number, beamline in enumerate(("mx", "saxs", "imbl", "xfm"), 1):
        before.experiment(number, "12282a", beamline)
        before.copy(number, number, "/p/12282a/data", number % 3 or None)
    assert kept_of(before).keys() == {2}


@pytest.mark.parametrize(
    ("destination_path", "result"),
    [("{epn}/data", SkipReason.SAME_DESTINATION), ("{beamline}/{epn}/data", DueReason.NEW)],
)
def test_an_experiment_that_has_lost_its_place_to_another_is_due(
    before: Old, destination_path: str, result: SkipReason | DueReason
) -> None:
    before.experiment(1, "12282a", "mx")
    before.experiment(2, "12282a", "saxs")
    before.copy(1, 1, "/p/12282a/data", 3)
    before.copy(2, 2, "/p/12282a/data", 5)
    before.attempt(1, "complete", 3)
    before.attempt(2, "complete", 5)
    if before.has("0008"):
        before.visit(1, "12282a", "mx", 2)
    catalogue, now = Catalogue.open(before.path), datetime.now(UTC)
    found = catalogue.overview.records()
    policy = Policy(
        now=now,
        rules=DestinationRules(
            {"12282": "p"}, "/data/{beamline}/{epn}", Path("/p"), destination_path
        ),
        running=running_visits((), now),
        ignored=catalogue.ignore_entries.compare({"12282a": None}, now),
        fetch_visible=True,
        owners=owners_of(found),
    )
    (mx,) = [one for one in found if one.experiment == Experiment("mx", Epn("12282a"))]
    assert mx.copies == ()
    item = planned(experiment_state(mx, policy))
    assert item is not None
    assert (item.reason if isinstance(item, Skipped) else item.why) is result
    if isinstance(item, DueCopy):
        assert isinstance(catalogue.acquire_lease(item.copy), int)


@pytest.mark.parametrize("revision", [one for one in OLDER if "0011" <= one < "0015"])
def test_a_release_of_every_older_version_is_in_the_history(tmp_path: Path, revision: str) -> None:
    old = Old(tmp_path / "catalogue.db", revision)
    old.experiment(1, "12282a", released=at(3), release_reason="on tape")
    old.experiment(2, "12282b")
    decisions = Catalogue.open(old.path).decisions
    (event,) = decisions.events_of("12282a")
    assert (event.at, event.kind, event.detail) == (
        DAY + timedelta(days=3), EventKind.RELEASED, "on tape",
    )  # fmt: skip
    assert decisions.events_of("12282b") == []


@pytest.mark.parametrize("revision", [one for one in OLDER if "0005" <= one < "0011"])
def test_what_was_due_and_never_listed_stays_due_on_the_beamline_of_the_others(
    tmp_path: Path, revision: str
) -> None:
    old = Old(tmp_path / "catalogue.db", revision)
    old.experiment(1, "12282a", "imbl")
    for epn in ("12282a", "12282f"):
        old.add("due", epn=epn, project="ny79", since=at(1), latest=at(2), reason="cut off")
    Database.open(old.path)
    records = Catalogue.open_readonly(old.path).overview.records()
    found = [(one.experiment.beamline, one.epn.text, one.note is not None) for one in records]
    assert found == [("imbl", "12282a", True), ("imbl", "12282f", True)]
