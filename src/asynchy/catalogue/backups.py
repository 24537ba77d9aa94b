"""Copies of the catalogue, made while others write to it, checked, and put back in its place."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from asynchy.catalogue.foreign_files import opened_foreign
from asynchy.catalogue.reading import opened_for_reading
from asynchy.catalogue.schema import metadata
from asynchy.errors import CatalogueError, ImportRefused
from asynchy.localfs.filesystem import fsync_path
from asynchy.model.formatting import count, escaped, moment

_STAMP = "%Y-%m-%dT%H-%M-%SZ"
_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-(\d+))?\.db", re.ASCII)
"""Its time and its number; older versions gave no number."""
_STORED = "%Y-%m-%d %H:%M:%S.%f"
"""How the catalogue stores a time."""
_MOST = 20
"""Lines of a check that are told."""


@dataclass(frozen=True, order=True)
class Backup:
    """One copy of the catalogue. They sort by when they were made, whatever the clock said."""

    number: int
    made: datetime
    """As the clock said."""
    path: Path


def folder_of(catalogue: Path) -> Path:
    """Where the backups of a catalogue are: beside it."""
    return catalogue.with_name(f"{catalogue.name}.backups")


def backups(catalogue: Path) -> list[Backup]:
    """The backups of a catalogue, the newest first; none if their folder cannot be read."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder_of(catalogue).iterdir():
            name = _NAME.fullmatch(path.name)
            with contextlib.suppress(ValueError):  # not one of ours
                if name is not None:
                    made = datetime.strptime(name[1], _STAMP).replace(tzinfo=UTC)
                    found.append(Backup(int(name[2] or 0), made, path))
    return sorted(found, reverse=True)


def complete_in(backup: Path) -> int | None:
    """How many copies a backup knows to be complete; None: it cannot be read."""
    try:
        with opened_for_reading(backup) as db:
            row = db.execute("SELECT count(*) FROM copies WHERE completed IS NOT NULL").fetchone()
            return int(row[0])
    except (CatalogueError, sqlite3.Error):
        return None


def latest_in(backup: Path) -> datetime | None:
    """When the latest attempt that a backup knows ended; None: it knows none, or cannot be read."""
    try:
        with opened_for_reading(backup) as db:
            (ended,) = db.execute("SELECT max(ended) FROM attempts").fetchone()
            return ended and datetime.fromisoformat(f"{ended}+00:00")
    except (CatalogueError, sqlite3.Error, ValueError):
        return None


def to_restore(catalogue: Path) -> Path:
    """The newest backup, unless an older one knows more complete copies.

    After a loss that nobody noticed, the service goes on with an empty catalogue, and backs it up.

    Raises:
        CatalogueError: a person has to choose, or there is none.
    """
    found = backups(catalogue)
    if not found:
        raise CatalogueError(f"there is no backup of {catalogue}", hint=advice(catalogue))
    newest = found[0].path
    known, fullest = max(_more_complete(found[1:], newest), default=(0, None))
    if fullest is not None:
        few = count(complete_in(newest) or 0, "complete copy", "complete copies")
        raise CatalogueError(
            f"the newest backup, {newest}, knows {few}, and {fullest.path} knows {known:,}",
            hint="name the one to restore: `asynchy catalogue restore FILE`; nothing was changed",
        )
    return newest


def _more_complete(older: list[Backup], newest: Path) -> list[tuple[int, Backup]]:
    """The backups with more complete copies than the newest, each with how many; newest first."""
    present = complete_in(newest) or 0
    known = ((complete_in(one.path) or 0, one) for one in older)
    return [(complete, one) for complete, one in known if complete > present]


def back_up(catalogue: Path, now: datetime) -> Backup:
    """Copy the catalogue as it is at one instant; others may write to it meanwhile.

    The copy gets its name once it is whole, checked and on the disk.

    Raises:
        CatalogueError: there is no catalogue, it is damaged, or the copy cannot be written.
    """
    if not catalogue.exists():
        raise CatalogueError(f"there is no catalogue {catalogue}", hint="nothing was backed up")
    made = now.astimezone(UTC).replace(microsecond=0)
    newest = next(iter(backups(catalogue)), None)
    number = 1 if newest is None else newest.number + 1
    target = folder_of(catalogue) / f"{made.strftime(_STAMP)}-{number}.db"
    new = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(mode=0o750, exist_ok=True)
        new.unlink(missing_ok=True)
        _copy(catalogue, new)
        problems = check(new)
        if problems:
            raise CatalogueError(
                f"{catalogue} is damaged, so it was not backed up: {problems[0]}",
                hint=advice(catalogue),
            )
        fsync_path(new)
        new.replace(target)
        fsync_path(target.parent)
    except (OSError, sqlite3.Error) as error:
        if type(error) is sqlite3.DatabaseError:  # of the file that is read
            raise CatalogueError(
                f"{catalogue} is damaged, so it was not backed up: {error}", hint=advice(catalogue)
            ) from None
        raise CatalogueError(
            f"{target} cannot be written: {getattr(error, 'strerror', None) or error}",
            hint=f"make room, and let the user that runs asynchy write {target.parent}",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
    return Backup(number, made, target)


def remove_old(catalogue: Path, keep: int) -> list[Backup]:
    """Remove all backups but the newest ones, and those of a catalogue that was since lost.

    Of older ones that know more complete copies than the newest, the newest one and the one that
    knows most are kept; these are returned.

    Raises:
        OSError: one cannot be removed.
    """
    found = backups(catalogue)
    if len(found) <= keep:
        return []
    fuller = _more_complete(found[keep:], found[0].path)
    kept = {fuller[0][1], max(fuller)[1]} if fuller else set()
    for old in found[keep:]:
        if old not in kept:
            old.path.unlink(missing_ok=True)
    return sorted(kept, reverse=True)


def check(catalogue: Path) -> list[str]:
    """What SQLite finds wrong in the file as it is at one instant; nothing: all is well.

    Raises:
        CatalogueError: it cannot be opened, or another process keeps it locked.
    """
    try:
        with opened_for_reading(catalogue) as db:
            db.execute("BEGIN")
            found = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({_MOST})")]
            if found == ["ok"]:
                found = [
                    f"row {row[1]} of {row[0]} belongs to a row of {row[2]} that is not there"
                    for row in db.execute("PRAGMA foreign_key_check").fetchmany(_MOST)
                ]
    except sqlite3.OperationalError as error:
        raise CatalogueError(
            f"{catalogue} cannot be checked: {error}", hint="see who has it open (fuser), try again"
        ) from None
    except sqlite3.Error as error:
        return [str(error)]
    return found


def restore(catalogue: Path, backup: Path, now: datetime) -> Path | None:
    """Put a backup in the place of the catalogue; where the one that was there is kept.

    Raises:
        CatalogueError: the backup is damaged or no catalogue, or it cannot be put there.
    """
    problem = _problem(backup)
    if problem is not None:
        others = (one.path for one in backups(catalogue) if one.path != backup)
        good = next((path for path in others if _problem(path) is None), None)
        restore_it = f"`asynchy catalogue restore {good}`" if good else "no other backup is good"
        raise CatalogueError(
            f"{backup} cannot be restored: {problem}",
            hint=f"{restore_it}; nothing was changed",
        )
    new = catalogue.with_name(f".{catalogue.name}.restored")
    stamp = now.astimezone(UTC).strftime(_STAMP)
    kept = catalogue.with_name(f"{catalogue.name}.replaced-{stamp}")
    try:
        shutil.copyfile(backup, new)
        _doubt_all(new, now)
        if catalogue.exists():
            shutil.copymode(catalogue, new)
        fsync_path(new)
        was_there = catalogue.exists()
        for end in ("-wal", "-shm", ""):  # together they are the database
            with contextlib.suppress(FileNotFoundError):
                catalogue.with_name(catalogue.name + end).rename(kept.with_name(kept.name + end))
        new.replace(catalogue)
        fsync_path(catalogue.parent)
    except (OSError, sqlite3.Error) as error:
        raise CatalogueError(
            f"{catalogue} cannot be replaced: {getattr(error, 'strerror', None) or error}",
            hint=f"the backup is in {backup}, and what was there in {catalogue} or {kept}",
        ) from None
    return kept if was_there else None


def advice(catalogue: Path) -> str:
    """What to do about a catalogue that is damaged or lost."""
    newest = next(iter(backups(catalogue)), None)
    if newest is not None:
        return (
            "nothing was overwritten; `asynchy catalogue restore` puts the backup of "
            f"{moment(newest.made)} in its place, and what came later is found again"
        )
    return (
        "nothing was overwritten; restore a backup, or move the file away and run `asynchy "
        "catalogue rebuild`: what is at home is compared again, not fetched again"
    )


def _copy(source: Path, target: Path) -> None:
    """One step, so that no writer makes it begin again; a writer is not kept waiting."""
    with opened_for_reading(source) as db, contextlib.closing(sqlite3.connect(target)) as made:
        db.backup(made)
        made.execute("PRAGMA journal_mode=DELETE")  # one file alone


def _doubt_all(catalogue: Path, now: datetime) -> None:
    """Have every copy compared again: nobody knows what was fetched since the backup was made."""
    when = now.astimezone(UTC).strftime(_STORED)
    with contextlib.closing(sqlite3.connect(catalogue)) as db, db:
        columns = {row[1] for row in db.execute("PRAGMA table_info(experiments)")}
        if "changed" in columns:
            db.execute("UPDATE experiments SET changed = ?", (when,))


def _problem(backup: Path) -> str | None:
    """Why a backup cannot be restored; None: it can."""
    try:
        return _no_catalogue(backup) or next(iter(check(backup)), None)
    except CatalogueError as error:
        return error.message


def _no_catalogue(path: Path) -> str | None:
    """Why a file is no catalogue of ours; None: it is one. Nothing in it is run meanwhile."""
    try:
        with opened_foreign(path) as db:
            names = db.names()
            if not {"alembic_version", "copies"} <= names:
                return "it is no catalogue of asynchy"
            for name in names & metadata.tables.keys():
                db.columns(name)  # an ordinary table, or it says so
            if (program := db.program()) is not None:
                return f"it has {escaped(program, limit=60)}, which no catalogue of asynchy has"
    except (ImportRefused, CatalogueError) as error:
        return error.message.removeprefix(f"{path} ").removeprefix(f"{path}: ")
    return None
