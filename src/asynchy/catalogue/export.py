"""The catalogue for other programs: rows as they stream, or a file of the original's layout."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, Select, func, select

from asynchy.catalogue.column_types import as_time
from asynchy.catalogue.database import Database
from asynchy.catalogue.legacy_import import is_original
from asynchy.catalogue.schema import attempts, copies, experiments, files
from asynchy.errors import ExportRefused
from asynchy.localfs.filesystem import fsync_path
from asynchy.model.catalogue_address import CatalogueAddress, beside
from asynchy.model.file_times import TIME_UNKNOWN
from asynchy.model.formatting import escaped

_BATCH = 10_000
_LONGEST = 1 << 20
_MINUTES = 100_000

EXPERIMENT_COLUMNS = (
    "epn", "beamline", "proposal", "source", "files", "bytes", "modified", "changed",
    "first_seen", "last_seen", "vanished", "complete_copies", "attempts",
)  # fmt: skip
FILE_COLUMNS = ("epn", "beamline", "path", "size", "modified")


def experiment_rows(catalogue: CatalogueAddress) -> Iterator[dict[str, Any]]:
    """Every experiment with `EXPERIMENT_COLUMNS`, in order of EPN; times in ISO 8601, in UTC.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    columns = experiments.c
    mine = copies.c.experiment_id == columns.id
    complete = select(func.count()).where(mine, copies.c.completed.is_not(None)).scalar_subquery()
    tried = (
        select(func.count())
        .select_from(attempts.join(copies, copies.c.id == attempts.c.copy_id))
        .where(mine)
        .scalar_subquery()
    )
    query = select(
        experiments, complete.label("complete_copies"), tried.label("attempts")
    ).order_by(columns.epn, columns.beamline)
    for row in _stream(catalogue, query):
        yield {name: _plain(getattr(row, name)) for name in EXPERIMENT_COLUMNS}


def file_rows(catalogue: CatalogueAddress) -> Iterator[dict[str, Any]]:
    r"""Every file with `FILE_COLUMNS`, its path within the experiment's folder.

    In a path a backslash escapes what does not print: `\\`, `\n`, and `\xff` for a byte that is no
    UTF-8. No name is lost.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    for row in _stream(catalogue, _every_file()):
        yield {
            "epn": row.epn,
            "beamline": row.beamline,
            "path": escaped(row.path, limit=_LONGEST),
            "size": row.size,
            "modified": _when(row.modified),
        }


def _when(modified: int) -> str:
    """A time for people; empty: it is not known."""
    return "" if modified == TIME_UNKNOWN else as_time(modified).isoformat()


def check_original(catalogue: CatalogueAddress, target: Path) -> None:
    """See that a file of the original's layout may be written, or written again.

    Raises:
        ExportRefused: there is something else, or no folder to write it in.
    """
    if not target.parent.is_dir():
        raise ExportRefused(f"{target.parent} is not there", hint="make the folder first")
    in_file = isinstance(catalogue, Path) and catalogue.exists() and target.exists()
    same = in_file and target.samefile(beside(catalogue))
    if same or (target.exists() and not is_original(target)):
        raise ExportRefused(
            f"{target} exists and is not a file that as-walker wrote",
            hint="name another with --output; nothing was overwritten",
        )


def write_original(catalogue: CatalogueAddress, target: Path, timezone: ZoneInfo) -> int:
    """Write all files in the original's layout `files(epn, path, size, modified)`; how many.

    Paths are absolute, times naive in the time zone, as the original as-walker wrote them. The file
    takes its place once it is whole.

    Raises:
        CatalogueError: the catalogue cannot be used.
        ExportRefused: it cannot be written, or there is something else in its place.
    """
    check_original(catalogue, target)
    made = target.with_name(f".{target.name}.new")
    made.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=OFF")  # it is not in its place before it is whole
            db.execute("PRAGMA synchronous=OFF")
            db.execute(
                "CREATE TABLE files (epn TEXT, path TEXT UNIQUE, size INTEGER, modified DATETIME)"
            )
            db.execute("BEGIN")
            local = _Local(timezone)
            # A name may be no UTF-8; SQLite keeps the bytes of a text as they are.
            db.executemany(
                "INSERT INTO files VALUES (?, CAST(? AS TEXT), ?, ?)",
                (
                    (
                        row.epn,
                        _absolute(row),
                        row.size,
                        None if row.modified == TIME_UNKNOWN else local.text(row.modified),
                    )
                    for row in _stream(catalogue, _every_file())
                ),
            )
            db.execute("COMMIT")
            (written,) = db.execute("SELECT count(*) FROM files").fetchone()
        fsync_path(made)
        made.replace(target)
    except (OSError, sqlite3.Error) as error:
        made.unlink(missing_ok=True)
        raise ExportRefused(
            f"{target} cannot be written: {error}", hint="nothing of it was left behind"
        ) from None
    return int(written)


def _every_file() -> Select[Any]:
    return (
        select(experiments.c.epn, experiments.c.beamline, experiments.c.source, files)
        .join(experiments, experiments.c.id == files.c.experiment_id)
        .order_by(files.c.experiment_id, files.c.path)
    )


def _stream(catalogue: CatalogueAddress, query: Select[Any]) -> Iterator[Row[Any]]:
    streamed = {"yield_per": _BATCH}
    with (
        Database.snapshot(catalogue).transaction() as connection,
        connection.execute(query, execution_options=streamed) as rows,
    ):
        yield from rows


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def _absolute(row: Row[Any]) -> bytes:
    folder = row.source or row.epn  # an import may know no folder
    return os.fsencode(folder) + b"/" + bytes(row.path)


class _Local:
    """Times as the original wrote them; each minute is worked out once."""

    def __init__(self, timezone: ZoneInfo) -> None:
        self._timezone = timezone
        self._minutes: dict[int, str] = {}

    def text(self, seconds: int) -> str:
        minute, rest = divmod(seconds, 60)
        start = self._minutes.get(minute)
        if start is None:
            if len(self._minutes) >= _MINUTES:
                self._minutes.clear()
            start = as_time(minute * 60, self._timezone).strftime("%Y-%m-%d %H:%M:")
            self._minutes[minute] = start
        return f"{start}{rest:02}"
