"""Backups of the catalogue: whole whatever is written meanwhile, checked, few, and put back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.catalogue import Catalogue
from asynchy.catalogue.backups import (
    back_up,
    backups,
    check,
    complete_in,
    folder_of,
    latest_in,
    remove_old,
    restore,
    to_restore,
)
from asynchy.catalogue.database import Database
from asynchy.catalogue.export import file_rows
from asynchy.errors import CatalogueError
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Entry, EntryKind, Experiment, LocalState
from asynchy.repatriation.daily_backup import back_up_daily
from tests.tools.catalogues import new_catalogue

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalogue.db"


@pytest.fixture
def catalogue(path: Path) -> Catalogue:
    path.parent.mkdir()
    return new_catalogue(path)


def copy_of(epn: str, place: Path) -> Copy:
    return Copy(Experiment("mx", Epn(epn)), "ny79", f"/data/mx/{epn}", place, place / epn)


def attempted(catalogue: Catalogue, epn: str, place: Path) -> None:
    number = catalogue.acquire_lease(copy_of(epn, place))
    assert isinstance(number, int)
    attempt = Attempt(
        started=NOW, ended=NOW, host="here", pid=1, engine="rsync", chosen=None, check="size",
        compare="time", verdict=Verdict.FAILED, exit_code=23, files=1, bytes=9, listed_at=NOW,
        listed_files=1, listed_bytes=9, reason=None, stderr="",
    )  # fmt: skip
    catalogue.record(number, attempt, None)
    catalogue.leases.release(number)


def epns(path: Path) -> list[str]:
    return [one.copy.epn.text for one in Catalogue.open_readonly(path).overview.copies()]


def listed(catalogue: Catalogue, epn: str, place: Path, files: int) -> None:
    listing = catalogue.listing(copy_of(epn, place))
    assert listing is not None
    for at in range(files):
        listing.add(Entry(EntryKind.FILE, b"%06d" % at, 1, 0, 0o644), LocalState.AS_LISTED)
    listing.finish(None)


def damage(path: Path) -> None:
    """Overwrite the second half of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xa5" * (len(data) - len(data) // 2)
    path.write_bytes(data)


def test_a_backup_has_what_was_committed_and_no_writer_waits_for_it(
    catalogue: Catalogue, path: Path, tmp_path: Path
) -> None:
    attempted(catalogue, "1a", tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM attempts")
        made = back_up(path, NOW)
        writer.execute("COMMIT")
    assert made.path == folder_of(path) / "2026-11-24T03-00-00Z-1.db"
    assert [one.name for one in made.path.parent.iterdir()] == [made.path.name]
    (record,) = Catalogue.open_readonly(made.path).overview.copies()
    assert record.attempts == 1
    (record,) = Catalogue.open_readonly(path).overview.copies()
    assert record.attempts == 0
    assert check(made.path) == []


def test_a_damaged_catalogue_is_not_backed_up_and_the_good_backups_stay(
    catalogue: Catalogue, path: Path, tmp_path: Path
) -> None:
    attempted(catalogue, "1a", tmp_path)
    good = back_up(path, NOW)
    damage(path)
    with pytest.raises(CatalogueError) as caught:
        back_up(path, NOW + timedelta(days=1))
    assert str(path) in caught.value.message
    assert backups(path) == [good] and check(good.path) == []
    assert sorted(path.parent.iterdir()) == [path, folder_of(path)]


def test_the_newest_backups_are_kept_and_other_files_are_left_alone(
    catalogue: Catalogue, path: Path
) -> None:
    # The order is that in which they were made, also by a clock that is ahead for a while.
    made = [back_up(path, NOW + timedelta(days=day)) for day in (1, 300, 2, 3)]
    (folder_of(path) / "notes.txt").write_text("by hand")
    assert [one.made for one in made] == [NOW + timedelta(days=day) for day in (1, 300, 2, 3)]
    assert remove_old(path, 2) == []
    assert backups(path) == [made[3], made[2]]
    assert (folder_of(path) / "notes.txt").exists()


def test_one_backup_a_day_is_made_and_what_goes_wrong_is_told(
    catalogue: Catalogue, path: Path
) -> None:
    settings: Any = SimpleNamespace(catalogue_address=path, backups=2)
    for hours in (0, 1, 24, 48, 49):
        assert back_up_daily(settings, NOW + timedelta(hours=hours)) is None
    assert [one.made for one in backups(path)] == [
        NOW + timedelta(days=2), NOW + timedelta(days=1),
    ]  # fmt: skip
    # A clock that was ahead for a day: from the next day on, there is one a day again.
    for hours in (24 * 400, 72, 73, 74):
        assert back_up_daily(settings, NOW + timedelta(hours=hours)) is None
    assert [one.made for one in backups(path)] == [
        NOW + timedelta(days=3), NOW + timedelta(days=400),
    ]  # fmt: skip
    damage(path)
    told = back_up_daily(settings, NOW + timedelta(days=4))
    assert told is not None and "the catalogue was not backed up" in told
    off: Any = SimpleNamespace(catalogue_address=path, backups=0)
    assert back_up_daily(off, NOW + timedelta(days=4)) is None


def test_backups_of_older_versions_are_older_than_those_with_a_number(
    catalogue: Catalogue, path: Path
) -> None:
    made = back_up(path, NOW)
    old = made.path.rename(made.path.with_name("2027-12-01T00-00-00Z.db"))
    newer = back_up(path, NOW)
    assert [one.path for one in backups(path)] == [newer.path, old]


def set_complete(path: Path, copies: int) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE copies SET completed = NULL")
        when = "2026-11-24 00:00:00.000000"
        db.execute("UPDATE copies SET completed = ? WHERE id <= ?", (when, copies))


def test_backups_of_an_emptier_catalogue_do_not_remove_those_that_know_more(
    catalogue: Catalogue, path: Path, tmp_path: Path
) -> None:
    for at in range(4):
        attempted(catalogue, f"{at}a", tmp_path)
    made = []
    for complete in (4, 4, 3, 1, 0, 0):
        set_complete(path, complete)
        made.append(back_up(path, NOW))
    assert remove_old(path, 2) == [made[3], made[1]]
    assert backups(path) == [made[5], made[4], made[3], made[1]]
    set_complete(path, 4)
    made += [back_up(path, NOW), back_up(path, NOW)]
    assert remove_old(path, 2) == []
    assert backups(path) == [made[7], made[6]]


def test_a_restored_catalogue_is_the_backup_and_what_was_there_is_kept(
    catalogue: Catalogue, path: Path, tmp_path: Path
) -> None:
    attempted(catalogue, "1a", tmp_path)
    path.chmod(0o640)
    made = back_up(path, NOW)
    attempted(catalogue, "1b", tmp_path)
    assert epns(path) == ["1a", "1b"]
    kept = restore(path, made.path, NOW)
    assert epns(path) == ["1a"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert kept is not None and epns(kept) == ["1a", "1b"]
    assert made.path.exists()
    path.unlink()
    assert restore(path, made.path, NOW) is None
    assert epns(path) == ["1a"]


def test_the_newest_backup_is_restored_unless_an_older_one_knows_more(
    catalogue: Catalogue, path: Path, tmp_path: Path
) -> None:
    for at in range(4):
        attempted(catalogue, f"{at}a", tmp_path)
    set_complete(path, 4)
    full = back_up(path, NOW)
    assert to_restore(path) == full.path
    set_complete(path, 3)
    fewer = back_up(path, NOW + timedelta(days=1))
    assert [complete_in(one.path) for one in (full, fewer)] == [4, 3]
    assert latest_in(full.path) == NOW
    with pytest.raises(CatalogueError) as error:
        to_restore(path)
    assert f"{fewer.path}, knows 3 complete copies, and {full.path} knows 4" in error.value.message
    full.path.write_bytes(b"not a database")
    assert complete_in(full.path) is None
    with pytest.raises(CatalogueError) as error:
        restore(path, full.path, NOW)
    assert error.value.hint is not None and f"restore {fewer.path}`" in error.value.hint


@pytest.mark.parametrize("content", [None, b"not a database", b""])
def test_what_is_no_good_backup_is_not_restored(
    catalogue: Catalogue, path: Path, tmp_path: Path, content: bytes | None
) -> None:
    attempted(catalogue, "1a", tmp_path)
    other = tmp_path / "other.db"
    if content is not None:
        other.write_bytes(content)
    with pytest.raises(CatalogueError, match="cannot be restored"):
        restore(path, other, NOW)
    damage_of_it = back_up(path, NOW)
    damage(damage_of_it.path)
    with pytest.raises(CatalogueError, match="cannot be restored"):
        restore(path, damage_of_it.path, NOW)
    assert epns(path) == ["1a"]


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (
            "DROP VIEW epns; ALTER TABLE copies RENAME TO c; CREATE VIEW copies AS "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
            "copies is a view, not an ordinary table",
        ),
        (
            "CREATE TRIGGER t AFTER INSERT ON attempts BEGIN DELETE FROM copies; END",
            "it has t, which no catalogue of asynchy has",
        ),
    ],
    ids=["endless view", "trigger"],
)
def test_a_file_whose_schema_does_more_than_hold_data_is_not_restored(
    catalogue: Catalogue, path: Path, tmp_path: Path, statements: str, why: str
) -> None:
    attempted(catalogue, "1a", tmp_path)
    crafted = back_up(path, NOW).path
    with closing(sqlite3.connect(crafted)) as db:
        db.executescript(statements)
    with pytest.raises(CatalogueError, match=f"cannot be restored: {why}"):
        restore(path, crafted, NOW)
    assert epns(path) == ["1a"]


def test_a_damaged_catalogue_is_called_so_and_its_newest_backup_is_named(
    catalogue: Catalogue, path: Path, tmp_path: Path
) -> None:
    attempted(catalogue, "1a", tmp_path)
    back_up(path, NOW)
    damage(path)
    with pytest.raises(CatalogueError, match="is damaged") as caught:
        Catalogue.open_readonly(path).overview.records()
    assert caught.value.hint is not None and "`asynchy catalogue restore`" in caught.value.hint
    assert check(path) != []


def test_an_error_without_damage_is_not_called_damage(catalogue: Catalogue, path: Path) -> None:
    database = Database.open_readonly(path)
    with pytest.raises(CatalogueError) as caught, database.transaction():
        raise_from_sqlite()
    assert "is damaged" not in caught.value.message
    assert caught.value.hint is not None and "finds no damage" in caught.value.hint


def raise_from_sqlite() -> None:
    """As SQLAlchemy raises what the driver does, when a file changes under it."""
    from sqlalchemy.exc import DatabaseError  # noqa: PLC0415

    raise DatabaseError("SELECT", {}, sqlite3.DatabaseError("database disk image is malformed"))


def test_an_export_reads_one_instant_and_keeps_nobody_from_writing(
    catalogue: Catalogue, path: Path, tmp_path: Path
) -> None:
    listed(catalogue, "1a", tmp_path, 20_000)
    rows = file_rows(path)
    first = next(rows)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("DELETE FROM files")
        busy, _, _ = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert sum(1 for _ in rows) == 19_999
    assert first["path"] == "000000"


def test_reading_while_another_process_begins_to_write_sees_what_was_committed(
    catalogue: Catalogue, path: Path, tmp_path: Path
) -> None:
    attempted(catalogue, "1a", tmp_path)
    reader = Catalogue.open_readonly(path)
    for at in range(50):
        attempted(catalogue, f"{at + 2}b", tmp_path)
        assert len(reader.overview.copies()) == at + 2
    assert not path.with_name("catalogue.db-wal").exists()
