"""An original's database, named as the catalogue, becomes one; it is kept beside it."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from zoneinfo import ZoneInfo

from asynchy.catalogue.database import Database
from asynchy.catalogue.legacy_import import check_original, import_file, is_original
from asynchy.catalogue.reading import ScratchFolder
from asynchy.catalogue.sqlite_database import SqliteDatabase
from asynchy.errors import CatalogueError, ImportRefused
from asynchy.localfs.filesystem import fsync_path
from asynchy.model.experiment import TIMEZONE
from asynchy.model.formatting import count

log = logging.getLogger(__name__)


def upgrade_legacy_database(path: Path) -> None:
    """Make a catalogue of an original's database, where `path` is one; otherwise do nothing.

    At any instant there is the original's database or the catalogue, each whole. The original's is
    kept as `<name>.original`.

    Raises:
        CatalogueError: it cannot be read, or nothing can be written beside it.
    """
    if not is_original(path):
        return
    kept = _free_name(path)
    made = path.with_name(f".{path.name}.new")
    done = False
    try:
        check_original(path)
        _copy(path, kept)
        for leftover in path.parent.glob(f"{made.name}*"):
            leftover.unlink()
        taken = import_file(made, kept, timezone=ZoneInfo(TIMEZONE), root="/data")
        fsync_path(made)
        made.replace(path)
        done = True
        fsync_path(path.parent)
    except (OSError, sqlite3.Error, ImportRefused) as error:
        raise _refused(path, error) from None
    finally:
        if not done:  # else every command that is tried would leave one more copy
            for leftover in (kept, *path.parent.glob(f"{made.name}*")):
                leftover.unlink(missing_ok=True)
    log.warning(
        "%s was a database of the original asynchy: %s and %s were taken over, %d rows could not "
        "be understood; it is kept as %s",
        path, count(taken.files, "file"), count(taken.epns, "EPN"), taken.odd, kept,
    )  # fmt: skip


def previewed(path: Path) -> Database:
    """The catalogue that an original's database would become, for reading; nothing else is written.

    It is in the folder for temporary files, and goes with the object that is returned.

    Raises:
        CatalogueError: the database cannot be read, or the temporary one cannot be written.
    """
    folder = ScratchFolder()
    made = folder.path / path.name
    try:
        import_file(made, path, timezone=ZoneInfo(TIMEZONE), root="/data")
    except ImportRefused as error:
        raise _refused(path, error) from None
    return SqliteDatabase.peek_at(path, made, folder)


def _refused(path: Path, error: Exception) -> CatalogueError:
    return CatalogueError(
        f"{path} is a database of the original asynchy and cannot be taken over: {error}",
        hint="it was not changed; `asynchy catalogue import` takes it into another catalogue",
    )


def _free_name(path: Path) -> Path:
    kept = path.with_name(f"{path.name}.original")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.original-{number}")
    return kept


def _copy(path: Path, kept: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(kept)) as target,
    ):
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nothing stays in a file beside it
        source.backup(target)
    fsync_path(kept)
