"""What the catalogue's records say after attempts, where a drawn world found a defect."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import create_engine, literal, select
from sqlalchemy.pool import NullPool

from asynchy.catalogue import Catalogue
from asynchy.catalogue.notifications import PendingMail
from asynchy.catalogue.odd_rows import odd_rows
from asynchy.catalogue.statements import names_epn
from asynchy.errors import CatalogueError, DestinationTaken
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.epn import Epn
from asynchy.model.experiment import (
    Copy,
    Entry,
    EntryKind,
    Experiment,
    ListingDiff,
    LocalState,
    LocatedExperiment,
)
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.news import Arrival
from asynchy.model.observed import FolderSeen
from asynchy.model.visit import EquipmentVisits, Visit, with_ids_apart
from tests.tools.catalogues import new_catalogue

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 3, 1, tzinfo=UTC)
COPY = Copy(
    Experiment("mx", Epn("12282a")),
    "ny79",
    "/data/mx/12282a",
    Path("/projects/ny79"),
    Path("/projects/ny79/12282a/data"),
)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return new_catalogue(tmp_path / "catalogue.db")


@given(st.text("019azAZ_-. é１", max_size=24))
@example("1" * 12 + "a" * 8)
@example("1" * 13)
@example("1" + "a" * 9)
def test_a_query_leaves_out_the_rows_whose_epn_is_none(text: str) -> None:
    with create_engine("sqlite://", poolclass=NullPool).connect() as db:
        found = db.scalar(select(names_epn(literal(text))))
    assert bool(found) == (Epn.parse(text) is not None)


def attempt(verdict: Verdict, ended: datetime) -> Attempt:
    return Attempt(
        started=ended, ended=ended, host="here", pid=1, engine="rsync", chosen=None,
        check="transport", compare="time", verdict=verdict, exit_code=0, files=1, bytes=9,
        listed_at=ended, listed_files=1, listed_bytes=9, reason=None, stderr="",
    )  # fmt: skip


def list_file(catalogue: Catalogue, size: int) -> None:
    listing = catalogue.listing(COPY)
    assert listing is not None
    listing.add(Entry(EntryKind.FILE, b"a", size, 0, 0o644), LocalState.AS_LISTED)
    listing.finish(None)


def the_record(catalogue: Catalogue) -> ExperimentRecord:
    (found,) = catalogue.overview.records()
    return found


@pytest.mark.parametrize("verdict", [Verdict.COMPLETE, Verdict.TRANSFERRED])
def test_a_change_seen_in_the_future_is_over_once_the_copy_is_complete(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    future = NOW + timedelta(days=400)
    monkeypatch.setattr("asynchy.catalogue.scans._now", lambda: future)
    list_file(catalogue, 8)
    list_file(catalogue, 9)
    assert the_record(catalogue).changed == future
    number = catalogue.acquire_lease(COPY)
    assert isinstance(number, int)
    listing_diff = ListingDiff(NOW, 1, 9, 0, 0, 0, 0, "fingerprint")
    catalogue.record(number, attempt(verdict, NOW + timedelta(hours=1)), listing_diff)
    changed = NOW if verdict is Verdict.COMPLETE else future
    assert the_record(catalogue).changed == changed


def test_a_change_seen_after_the_listing_counts_after_the_attempt(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = NOW + timedelta(minutes=5)
    monkeypatch.setattr("asynchy.catalogue.scans._now", lambda: seen)
    list_file(catalogue, 8)
    list_file(catalogue, 9)
    number = catalogue.acquire_lease(COPY)
    assert isinstance(number, int)
    listing_diff = ListingDiff(NOW, 1, 9, 0, 0, 0, 0, "fingerprint")
    catalogue.record(number, attempt(Verdict.COMPLETE, NOW + timedelta(hours=1)), listing_diff)
    assert the_record(catalogue).changed == seen


def test_what_was_never_seen_at_the_facility_is_not_gone_from_it(catalogue: Catalogue) -> None:
    catalogue.record_unlisted(COPY, attempt(Verdict.FAILED, NOW))
    catalogue.see(FolderSeen("/data/mx", ()), NOW)
    found = the_record(catalogue)
    assert (found.vanished, found.visible, len(found.copies)) == (None, False, 1)


def test_what_was_seen_and_could_not_be_listed_can_be_gone(catalogue: Catalogue) -> None:
    located = LocatedExperiment(COPY.experiment, COPY.source)
    catalogue.see(FolderSeen("/data/mx", (located,)), NOW)
    catalogue.record_unlisted(COPY, attempt(Verdict.FAILED, NOW))
    catalogue.see(FolderSeen("/data/mx", ()), NOW)
    found = the_record(catalogue)
    assert (found.vanished, found.source) == (NOW, COPY.source)


def test_what_only_the_portal_told_of_keeps_its_note(catalogue: Catalogue) -> None:
    visit = Visit("1", COPY.epn, NOW - timedelta(days=2), NOW - timedelta(days=1))
    told = EquipmentVisits(23, "mx", (visit,), since=NOW - timedelta(days=9), until=NOW)
    catalogue.overview.keep_visits([told], NOW)
    reason = "the project folder is not there"
    catalogue.notifications.note({COPY.experiment: ("ny79", reason)}, (), NOW)
    note = the_record(catalogue).note
    assert note is not None and (note.since, note.reason) == (NOW, reason)


@pytest.mark.parametrize(("noted", "kept"), [(400, 0), (-5, -5)], ids=["future", "past"])
def test_a_note_of_a_wrong_clock_is_not_from_the_future(
    catalogue: Catalogue, noted: int, kept: int
) -> None:
    catalogue.see(FolderSeen("/data/mx", (LocatedExperiment(COPY.experiment, COPY.source),)), NOW)
    due = {COPY.experiment: ("ny79", "no space")}
    catalogue.notifications.note(due, (), NOW + timedelta(days=noted))
    catalogue.notifications.note(due, (), NOW)
    note = the_record(catalogue).note
    assert note is not None and note.since == NOW + timedelta(days=kept)


def test_the_owner_of_a_place_is_the_experiment_with_a_copy_there(catalogue: Catalogue) -> None:
    other = Path("/projects/ny79/other")
    number = catalogue.acquire_lease(COPY)
    assert isinstance(number, int)
    assert catalogue.overview.owners_of([COPY.destination]) == {}  # nothing was tried yet
    catalogue.record(number, attempt(Verdict.FAILED, NOW), None)
    owners = catalogue.overview.owners_of([COPY.destination, other, None])
    assert owners == {str(COPY.destination): COPY.experiment}
    (record,) = catalogue.overview.copies()
    catalogue.decisions.forget(record, "moved away", NOW)
    assert catalogue.overview.owners_of([COPY.destination]) == {}


def transferred(catalogue: Catalogue, copy: Copy) -> None:
    number = catalogue.acquire_lease(copy)
    assert isinstance(number, int)
    catalogue.record(number, attempt(Verdict.FAILED, NOW), None)
    catalogue.leases.release(number)


SAXS = Experiment("saxs", Epn("12282a"))


@pytest.mark.parametrize("place", ["link/12282a/data", "real/12282a", "real/12282a/data/saxs"])
def test_a_place_under_another_name_or_within_another_belongs_to_its_owner(
    catalogue: Catalogue, tmp_path: Path, place: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    mine = replace(
        COPY, project_folder=tmp_path / "real", destination=tmp_path / "real/12282a/data"
    )
    transferred(catalogue, mine)
    other = replace(mine, experiment=SAXS, destination=tmp_path / place)
    with pytest.raises(DestinationTaken, match=r"belongs to 12282a \(mx\)"):
        catalogue.acquire_lease(other)
    transferred(catalogue, replace(mine, destination=tmp_path / place))  # its own other place
    beside = replace(other, destination=tmp_path / "real/12282a-saxs/data")
    transferred(catalogue, beside)


def test_a_place_to_which_nothing_was_transferred_is_free(catalogue: Catalogue) -> None:
    unlisted = replace(attempt(Verdict.FAILED, NOW), engine="")
    catalogue.record_unlisted(COPY, unlisted)
    transferred(catalogue, replace(COPY, experiment=SAXS))
    (record,) = catalogue.overview.copies()
    assert (record.copy.experiment, record.transfers) == (SAXS, 1)
    with pytest.raises(DestinationTaken):
        catalogue.acquire_lease(COPY)


def test_a_running_visit_that_the_portal_deletes_does_not_run_on(catalogue: Catalogue) -> None:
    def told(*visits: Visit) -> EquipmentVisits:
        since, until = NOW - timedelta(days=30), NOW + timedelta(hours=2)
        return EquipmentVisits(23, "mx", visits, since=since, until=until)

    wrong = Visit("1", COPY.epn, NOW - timedelta(days=2), NOW + timedelta(days=200))
    right = Visit("2", COPY.epn, NOW - timedelta(days=2), NOW - timedelta(days=1))
    catalogue.overview.keep_visits([told(wrong)], NOW)
    catalogue.overview.keep_visits([told(right)], NOW)
    assert [item.visit.id for item in catalogue.overview.visits()] == ["2"]


def test_visits_of_equipment_that_is_no_longer_asked_about_are_known_as_such(
    catalogue: Catalogue,
) -> None:
    visit = Visit("1", COPY.epn, NOW, NOW + timedelta(days=200))
    catalogue.overview.keep_visits([EquipmentVisits(99, "mx", (visit,))], NOW)
    (record,) = catalogue.overview.records(asked=[23])
    assert [item.asked for item in record.beamtimes] == [False]
    assert [item.asked for item in catalogue.overview.visits([23, 99])] == [True]


def test_visits_that_contradict_each_other_are_all_known(catalogue: Catalogue) -> None:
    visits = [
        Visit("7", Epn(epn), NOW - timedelta(days=2), NOW - timedelta(days=1))
        for epn in ("12282b", "12282a", "12282a")
    ]
    apart = with_ids_apart(dict.fromkeys(visits))
    assert [(one.id, one.epn.text) for one in apart] == [("7", "12282a"), ("7 (2)", "12282b")]
    catalogue.overview.keep_visits([EquipmentVisits(23, "mx", apart)], NOW)
    assert {one.epn.text for one in catalogue.overview.records()} == {"12282a", "12282b"}


def test_a_file_from_the_future_does_not_touch_an_experiment() -> None:
    future = ExperimentRecord(
        COPY.experiment, modified=NOW + timedelta(days=9), listed=NOW - timedelta(days=1)
    )
    assert not future.touched_since(NOW - timedelta(days=2))
    written = replace(future, modified=NOW - timedelta(days=1))
    assert written.touched_since(NOW - timedelta(days=2))


def test_a_mail_is_reported_and_kept_for_the_rest_in_one_step_or_not_at_all(
    catalogue: Catalogue,
) -> None:
    mail = PendingMail(NOW, b"to all", (Epn("99999z"),))
    rest = PendingMail(NOW, b"to one", ())
    notifications = catalogue.notifications
    mail = notifications.keep(mail)
    refuse = "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END"
    with closing(sqlite3.connect(catalogue.path)) as db:
        db.execute(refuse)
        with pytest.raises(CatalogueError):
            notifications.taken(mail, NOW, rest=rest)
        assert (notifications.pending(), notifications.reported()) == (mail, {})
        db.execute("DROP TRIGGER full")
    notifications.taken(mail, NOW, rest=rest)
    waits = notifications.pending()
    assert waits is not None and replace(waits, number=0) == rest
    assert notifications.reported().keys() == {Epn("99999z")}
    notifications.taken(waits, NOW)
    assert notifications.pending() is None


def test_only_what_came_is_announced_and_only_once(catalogue: Catalogue) -> None:
    def tried(**changes: Any) -> list[Arrival]:
        number = catalogue.acquire_lease(COPY)
        assert isinstance(number, int)
        made = replace(attempt(Verdict.COMPLETE, NOW), **changes)
        catalogue.record(number, made, ListingDiff(NOW, 1, 2, 0, 0, 0, 0, "same"))
        assert catalogue.arrivals.new() == ([], {})  # somebody works on it
        catalogue.leases.release(number)
        found, rest = catalogue.arrivals.new()
        catalogue.arrivals.pass_over(rest)
        for one in found:
            assert catalogue.arrivals.announce(one, [])
            assert not catalogue.arrivals.announce(one, [])
        assert catalogue.arrivals.new() == ([], {})
        return found

    assert tried(engine="", files=0, bytes=0) == []  # adopted: it was at home
    assert tried(engine="sftp", files=0, bytes=0) == []  # nothing new
    (more,) = tried(engine="sftp", files=1, bytes=2)
    assert (more.again, more.experiment, more.files) == (True, COPY.experiment, 1)
    (unknown,) = tried(engine="rsync", files=None, bytes=None)
    assert unknown.again


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    "change",
    ["destination = x'00ff'", "destination = 'data'", "completed = 'yesterday'", "verified = 5"],
)
def test_a_row_of_a_copy_that_cannot_be_read_is_left_out_alone_and_named(
    catalogue: Catalogue, tmp_path: Path, change: str
) -> None:
    mine = replace(COPY, project_folder=tmp_path, destination=tmp_path / "12282a")
    other = replace(mine, experiment=SAXS, destination=tmp_path / "saxs")
    transferred(catalogue, mine)
    transferred(catalogue, other)
    assert odd_rows(catalogue.path) == ()
    with closing(sqlite3.connect(catalogue.path)) as db, db:
        db.execute(f"UPDATE copies SET {change} WHERE id = 1")
    assert [one.copy for one in catalogue.overview.copies()] == [other]
    (sentence,) = odd_rows(catalogue.path)
    assert "1 row of `copies` left out, with a path or a time that is none: " in sentence
    transferred(catalogue, mine)  # what is at home is looked at again


@pytest.mark.sqlite_only
def test_a_level_that_is_none_proves_nothing_and_is_named(catalogue: Catalogue) -> None:
    transferred(catalogue, COPY)
    with closing(sqlite3.connect(catalogue.path)) as db, db:
        db.execute("UPDATE copies SET level = 'zz'")
    assert [one.level for one in catalogue.overview.copies()] == [None]
    (sentence,) = odd_rows(catalogue.path)
    assert "taken as not proven, with a level that is none: " in sentence
    assert str(COPY.destination) in sentence
