"""What copies hold: filled from a listing, kept while it is the same, and never too well proven."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.catalogue import Catalogue, copy_files
from asynchy.catalogue.copy_files import CopyFiles
from asynchy.catalogue.scans import ScanWriter
from asynchy.copying.outcome_rules import level_of
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.copy_record import CopyRecord, Replaced
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
from asynchy.model.verification import Check, CopyFile, Damage, Level
from tests.tools.catalogues import new_catalogue

pytestmark = pytest.mark.both_databases

NOW = datetime.now(UTC)
SHA = bytes(range(32))


class Place:
    """A catalogue with one copy."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "catalogue.db"
        self.catalogue = new_catalogue(self.path)
        experiment = Experiment("mx", Epn("12282a"))
        project = folder / "ny79"
        self.copy = Copy(experiment, "ny79", "/data/mx/12282a", project, project / "data")
        number = self.catalogue.acquire_lease(self.copy)
        assert isinstance(number, int)
        self.number = number
        self.held = self.catalogue.copy_files(number)

    def list(
        self,
        files: dict[bytes, tuple[int, int]],
        missing: tuple[bytes, ...] = (),
        edited: tuple[bytes, ...] = (),
        unlisted: tuple[bytes, ...] = (),
    ) -> ListingDiff:
        """List what the facility has; some are missing at home, or were changed there."""
        listing = self.catalogue.listing(self.copy)
        assert listing is not None
        for path, (size, modified) in files.items():
            at_home = LocalState.MISSING if path in missing else LocalState.AS_LISTED
            at_home = LocalState.EDITED if path in edited else at_home
            listing.add(Entry(EntryKind.FILE, path, size, modified, 0o644), at_home)
        listing.finish(None, unlisted)
        total = sum(size for size, _ in files.values())
        return ListingDiff(NOW, len(files), total, 0, len(missing), 0, 0, "f", listing.number)

    def take(self, found: ListingDiff, level: Level | None) -> bool:
        assert found.listing is not None
        return self.held.take(found.listing, (found.files, found.bytes), level)

    def rows(self) -> dict[bytes, CopyFile]:
        return {row.path: row for row in self.held.everything()}

    def record(self) -> CopyRecord:
        """What the catalogue knows of the copy."""
        found = self.catalogue.copy_record(self.copy)
        assert found is not None
        return found

    def complete(self, verdict: Verdict = Verdict.COMPLETE) -> None:
        self.catalogue.record(
            self.number, attempt(verdict), ListingDiff(NOW, 1, 1, 0, 0, 0, 0, "f")
        )


def attempt(verdict: Verdict) -> Attempt:
    return Attempt(
        started=NOW, ended=NOW, host="here", pid=1, engine="rsync", chosen="engine: rsync",
        check="transport", compare="time", verdict=verdict, exit_code=0, files=1, bytes=1,
        listed_at=NOW, listed_files=1, listed_bytes=1, reason=None, stderr="",
    )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_levels_have_an_order_and_a_word() -> None:
    assert Level.SIZE < Level.TRANSPORT < Level.SOURCE
    assert [f"{level}" for level in Level] == ["size", "transport", "source"]


@pytest.mark.parametrize(
    ("check", "looked", "origin_known", "level"),
    [
        ("size", True, True, Level.SIZE),
        ("size", True, False, Level.SIZE),
        ("transport", True, True, Level.TRANSPORT),
        ("transport", True, False, Level.SIZE),
        ("transport", False, True, Level.TRANSPORT),
        ("transport", False, False, None),
        ("size", False, True, None),
    ],
)
def test_the_engine_vouches_for_what_it_received_alone(
    check: str, looked: bool, origin_known: bool, level: Level | None
) -> None:
    assert level_of(check, compared=looked, origin_known=origin_known) is level


def test_what_was_listed_is_held_and_what_is_the_same_keeps_what_is_proven(place: Place) -> None:
    first = place.list({b"a": (1, 10), b"b": (2, 20), b"c": (3, 30)})
    assert place.take(first, Level.TRANSPORT)
    rows = place.rows()
    assert {path: (row.size, row.modified, row.level) for path, row in rows.items()} == {
        b"a": (1, 10, Level.TRANSPORT),
        b"b": (2, 20, Level.TRANSPORT),
        b"c": (3, 30, Level.TRANSPORT),
    }
    place.held.prove([(row, SHA) for row in rows.values()])
    second = place.list({b"a": (1, 10), b"b": (2, 21), b"d": (4, 40)})
    assert place.take(second, Level.SIZE)
    found = {path: (row.level, row.sha256) for path, row in place.rows().items()}
    assert found == {
        b"a": (Level.SOURCE, SHA),
        b"b": (Level.SIZE, None),
        b"c": (Level.SOURCE, SHA),  # at home still, and no more at the facility
        b"d": (Level.SIZE, None),
    }


def test_what_is_not_at_home_any_more_loses_what_was_proven_of_it(place: Place) -> None:
    files = {b"a": (1, 10), b"b": (2, 20)}
    assert place.take(place.list(files), Level.SOURCE)
    place.complete()
    assert place.record().level is Level.SOURCE
    listed = place.list(files, missing=(b"b",))
    assert place.record().level is None
    assert place.held.known() == 1 == listed.files - listed.missing_files
    assert [(row.path, row.damage) for row in place.rows().values()] == [
        (b"a", None),
        (b"b", Damage.MISSING),
    ]
    record = place.record()
    assert record.suspect and (record.completed, record.listed, record.damaged) == (None, None, 1)
    assert place.held.sum_up(NOW) is None
    assert place.take(listed, Level.SIZE)
    assert {path: row.level for path, row in place.rows().items()} == {
        b"a": Level.SOURCE,
        b"b": Level.SIZE,
    }


@pytest.mark.parametrize(
    ("sha256", "level"), [(SHA, Level.SOURCE), (None, None)], ids=["digest", "none"]
)
def test_a_missing_file_that_is_back_is_what_was_proven_only_where_a_digest_says_so(
    place: Place, sha256: bytes | None, level: Level | None
) -> None:
    files = {b"a": (1, 10), b"b": (2, 20)}
    assert place.take(place.list(files), Level.SOURCE)
    place.held.prove([(row, SHA if row.path == b"a" else sha256) for row in place.rows().values()])
    place.complete()
    place.list(files, missing=(b"b",))
    place.held.digest([(place.rows()[b"b"], SHA)])  # as an audit does
    place.held.mark([(place.rows()[b"b"], None)])
    assert place.held.sum_up(NOW) is level
    assert place.record().suspect  # the facility is to be asked again


def test_a_copy_that_lacks_a_file_which_the_facility_was_seen_to_have_has_no_level(
    place: Place,
) -> None:
    files = {b"a": (1, 10), b"b": (2, 20)}
    assert place.take(place.list(files), Level.SOURCE)
    place.complete()
    place.list({**files, b"b": (2, 21), b"c": (3, 30)}, missing=(b"b", b"c"))
    assert place.held.sum_up(NOW) is None
    record = place.record()
    assert record.completed is not None and record.damaged == 0  # it has what it was to have
    assert place.rows()[b"b"].damage is None


def test_files_of_unknown_origin_are_seen(place: Place) -> None:
    listed = place.list({b"a": (1, 10), b"b": (2, 20)}, missing=(b"b",))
    assert place.held.known() == 0 != listed.files - listed.missing_files


def test_what_a_walk_has_seen_since_is_not_held(place: Place) -> None:
    listed = place.list({b"a": (1, 10), b"b": (2, 20)})
    walk = ScanWriter.begin(place.catalogue.address, "walk", "/data")
    number, _ = walk.experiment(LocatedExperiment(place.copy.experiment, place.copy.source))
    walk.add(number, [(b"a", 1, 10, None), (b"late", 5, 50, None)])
    walk.flush()
    assert place.take(listed, Level.SIZE)
    assert place.rows().keys() == {b"a", b"b"}
    walk.add(number, [(b"a", 1, 11, None)])
    walk.flush()
    assert not place.take(listed, Level.SIZE)
    assert place.rows()[b"a"].modified == 10


def test_a_copy_has_the_level_of_its_weakest_file(place: Place) -> None:
    assert place.take(place.list({b"a": (1, 10), b"b": (2, 20)}), Level.TRANSPORT)
    rows = place.rows()
    place.complete()
    record = place.record()
    assert (record.level, record.damaged, record.verified) == (Level.TRANSPORT, 0, NOW)
    place.held.prove([(rows[b"a"], None)])
    assert place.held.sum_up(NOW) is Level.TRANSPORT
    place.held.prove([(rows[b"b"], SHA)])
    assert place.held.sum_up(NOW) is Level.SOURCE
    place.held.mark([(rows[b"b"], Damage.CHANGED)])
    assert place.held.sum_up(NOW) is None
    assert place.record().damaged == 1
    place.held.mark([(rows[b"b"], None)])
    assert place.held.sum_up(NOW) is Level.SOURCE


def test_of_a_copy_that_is_not_known_to_hold_anything_nothing_is_proven(place: Place) -> None:
    place.complete()
    assert place.record().level is None


def test_what_is_proven_of_another_size_or_time_counts_for_nothing(place: Place) -> None:
    assert place.take(place.list({b"a": (1, 10)}), Level.SIZE)
    row = place.rows()[b"a"]
    other = replace(row, modified=11)
    place.held.prove([(other, SHA)])
    place.held.digest([(other, SHA)])
    place.held.mark([(other, Damage.MISSING)])
    assert place.rows()[b"a"] == row


def test_what_is_still_to_be_proven(place: Place) -> None:
    files = {b"a": (1, 10), b"b": (2, 20), b"c": (3, 30), b"d": (4, 40)}
    assert place.take(place.list(files), Level.SIZE)
    rows = place.rows()
    place.held.prove([(rows[b"a"], SHA), (rows[b"c"], SHA)])
    place.held.mark([(rows[b"c"], Damage.CHANGED)])
    assert place.take(place.list({**files, b"d": (4, 41)}, missing=(b"d",)), Level.SIZE)
    place.list({path: files[path] for path in (b"a", b"b", b"c")})  # d is gone from the facility

    def paths(run: int | None) -> list[bytes]:
        return [row.path for row in place.held.unproven(run)]

    assert paths(None) == [b"b", b"c"]
    assert paths(1) == [b"a", b"b", b"c"]
    place.held.prove([(rows[b"a"], None)], run=1)
    assert paths(1) == [b"b", b"c"]
    assert paths(2) == [b"a", b"b", b"c"]
    place.held.prove([(rows[b"a"], None)])  # in a run that does not compare all again
    assert paths(1) == [b"b", b"c"]


def test_a_file_that_differs_stays_known_until_it_is_proven_and_the_copy_is_not_complete(
    place: Place,
) -> None:
    files = {b"a": (1, 10), b"b": (2, 20)}
    assert place.take(place.list(files), Level.SIZE)
    place.complete()
    assert not place.record().suspect
    place.held.differ([place.rows()[b"b"]])
    record = place.record()
    assert record.suspect and (record.completed, record.listed) == (None, None)
    assert (record.level, record.damaged) == (None, 1)
    assert place.take(place.list(files, missing=(b"b",)), Level.SIZE)
    (row,) = place.held.different(listed=True)
    assert row.path == b"b"
    place.held.prove([(row, SHA)])
    place.complete()
    record = place.record()
    assert not record.suspect and record.listed == NOW
    assert place.record().damaged == 0


def test_what_is_gone_from_the_facility_cannot_differ_from_it(place: Place) -> None:
    files = {b"a": (1, 10), b"b": (2, 20)}
    assert place.take(place.list(files), Level.SIZE)
    place.held.differ([place.rows()[b"b"]])
    place.list({b"a": (1, 10)})
    assert list(place.held.different()) == []
    assert place.rows()[b"b"].damage is Damage.CHANGED
    assert place.record().suspect


def test_many_files_are_read_in_order_a_page_at_a_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynchy.catalogue.file_selection._PAGE", 3)
    names = [b"%02d\xff\n" % at for at in range(10)]
    assert place.take(place.list(dict.fromkeys(names, (1, 1))), Level.SIZE)
    rows = list(place.held.everything())
    assert [row.path for row in rows] == names
    place.held.digest([(row, SHA) for row in rows[:3]])
    assert list(place.held.digested()) == [replace(row, sha256=SHA) for row in rows[:3]]
    assert list(place.held.undigested()) == rows[3:]
    assert place.held.undigested().amount() == (7, 7)


def test_an_attempt_that_failed_is_unfinished_until_the_copy_is_found_complete(
    place: Place,
) -> None:
    found = place.list({b"a": (1, 10)})
    assert place.take(found, Level.SIZE)
    place.complete()
    assert not place.record().unfinished
    place.complete(Verdict.STOPPED)
    assert place.record().unfinished
    place.catalogue.confirm(place.number, found, NOW + timedelta(seconds=1))
    assert not place.record().unfinished


def test_checks_are_only_ever_added(place: Place) -> None:
    made = [
        Check("verify", "rsync --checksum", NOW, NOW, "here", 1, 3, 99, 1, 0, 0, 0, 0, None, True),
        Check("audit", "at home", NOW, NOW, "here", 1, 3, 99, 0, 1, 2, 3, 0, "stopped", False),
    ]
    for check in made:
        place.catalogue.note(place.number, check)
    found = place.catalogue.history.checks_of("12282a")
    assert found == [(str(place.copy.destination), check) for check in made]
    assert place.catalogue.history.checks_of("99999z") == []


def test_holdings_can_be_looked_at_alone(place: Place) -> None:
    assert place.take(place.list({b"a": (1, 10)}), Level.SIZE)
    copy_files: CopyFiles = Catalogue.open_readonly(place.catalogue.address).copy_files(
        place.number
    )
    assert [row.path for row in copy_files.everything()] == [b"a"]


FILES = {b"a": (1, 10), b"b": (2, 20)}


def complete(place: Place) -> None:
    """All of it is at home, proven and digested."""
    assert place.take(place.list(FILES), Level.SOURCE)
    place.complete()
    place.held.digest((row, SHA) for row in place.rows().values())
    assert place.held.sum_up(NOW) is Level.SOURCE


def test_a_file_that_a_person_changed_is_no_damage_and_the_copy_is_not_proven(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    complete(place)
    found = place.list(FILES, edited=(b"a",))
    assert place.rows()[b"a"].damage is Damage.EDITED
    assert place.rows()[b"b"].proven is Level.SOURCE
    record = place.record()
    assert (record.edited, record.damaged, record.level, record.suspect) == (1, 0, None, False)
    # A transfer that leaves it alone records nothing else of it.
    assert place.take(found, Level.SIZE)
    assert place.rows()[b"a"].damage is Damage.EDITED


def test_a_file_that_is_as_it_was_again_has_its_size_proven_and_no_more(tmp_path: Path) -> None:
    place = Place(tmp_path)
    complete(place)
    place.list(FILES, edited=(b"a",))
    place.list(FILES)
    row = place.rows()[b"a"]
    assert (row.damage, row.level, row.sha256) == (None, Level.SIZE, SHA)
    assert (place.record().edited, place.record().level) == (0, Level.SIZE)


def test_a_changed_file_is_neither_compared_nor_brought_until_the_facility_has_another(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    complete(place)
    place.list(FILES, edited=(b"a",))
    contents = place.catalogue.contents(place.copy, place.number)
    assert [entry.path for entry in contents.files(-1)] == [b"b"]
    assert [file.path for file in place.held.unproven(run=1)] == [b"b"]

    newer = place.list({**FILES, b"a": (5, 50)}, missing=(b"a",))
    assert sorted(entry.path for entry in contents.files(-1)) == [b"a", b"b"]
    assert place.take(newer, Level.SIZE)
    assert (place.rows()[b"a"].damage, place.rows()[b"a"].size) == (None, 5)


def test_a_changed_file_that_is_to_be_restored_is_missing_until_it_is_held(tmp_path: Path) -> None:
    place = Place(tmp_path)
    complete(place)
    place.list(FILES, edited=(b"a",))
    found = place.list(FILES, missing=(b"a",))
    assert place.rows()[b"a"].damage is Damage.MISSING
    assert place.record().suspect
    contents = place.catalogue.contents(place.copy, place.number)
    assert sorted(entry.path for entry in contents.files(-1)) == [b"a", b"b"]
    assert place.take(found, Level.SIZE)
    assert place.rows()[b"a"].damage is None


def test_what_is_kept_of_earlier_versions_is_stored_with_the_copy(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert (place.record().replaced, place.record().replaced_at) == (Replaced(), None)
    place.catalogue.note_replaced(place.number, Replaced(2, 30, 1), NOW)
    place.catalogue.note_replaced(place.number, Replaced(1, 10, 0), None)
    assert (place.record().replaced, place.record().replaced_at) == (Replaced(1, 10, 0), NOW)


@pytest.mark.parametrize("number", [1, 9, 10, 11, 20, 25])
def test_files_of_several_pages_are_all_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(copy_files, "_TAKEN", 10)
    files = {b"f%03d" % at: (1, at) for at in range(number)}
    assert place.take(place.list(files), Level.SIZE)
    assert place.rows().keys() == files.keys()


def test_others_write_between_two_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_files, "_TAKEN", 10)
    found = place.list({b"f%03d" % at: (1, at) for at in range(25)})
    seen: list[int] = []

    def write_meanwhile(_seconds: float) -> None:
        with closing(sqlite3.connect(place.path, timeout=0)) as db, db:
            db.execute("UPDATE experiments SET problem = NULL")
            seen.extend(row[0] for row in db.execute("SELECT count(*) FROM held"))

    monkeypatch.setattr(copy_files.time, "sleep", write_meanwhile)
    assert place.take(found, Level.SIZE)
    assert seen == [10, 20, 25]


def test_a_walk_that_sees_others_between_two_pages_keeps_it_from_being_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_files, "_TAKEN", 10)
    found = place.list({b"f%03d" % at: (1, at) for at in range(25)})
    walk = ScanWriter.begin(place.catalogue.address, "walk", "walk")
    number, _ = walk.experiment(LocatedExperiment(place.copy.experiment, place.copy.source))

    def see_meanwhile(_seconds: float) -> None:
        walk.add(number, [(b"f020", 1, 777, None)])
        walk.flush()

    monkeypatch.setattr(copy_files.time, "sleep", see_meanwhile)
    assert not place.take(found, Level.SIZE)
    assert b"f020" not in place.rows()


def test_others_write_while_what_a_copy_holds_is_looked_at(place: Place) -> None:
    assert place.take(place.list({b"a": (1, 10)}), Level.SIZE)
    database = place.held.database
    with database.looking() as db, closing(sqlite3.connect(place.path, timeout=0)) as other, other:
        db.exec_driver_sql("SELECT count(*) FROM held").all()
        other.execute("UPDATE experiments SET problem = NULL")
