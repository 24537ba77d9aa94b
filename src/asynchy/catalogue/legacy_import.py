"""The SQLite files of the original programs, read without changing them.

as-walker writes `files(epn, path, size, modified)`, people merge them into `epns(epn, size,
modified, complete, bytesTransferred)` (docs/catalogue.md). Times are naive, in the time zone where
they were written.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from asynchy.catalogue.experiments import LegacyEpnRow
from asynchy.catalogue.foreign_files import NOTHING_TAKEN, ForeignDatabase, opened_foreign, why
from asynchy.catalogue.scans import Row, ScanWriter
from asynchy.config.file_access import access_hint
from asynchy.errors import CatalogueError, ImportRefused
from asynchy.model.catalogue_address import CatalogueAddress
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment, LocatedExperiment
from asynchy.model.formatting import escaped
from asynchy.model.remote_names import is_inside

_FILES = frozenset({"epn", "path", "size", "modified"})
_EPNS = frozenset({"epn", "size", "modified"})
_NAMED = 10
_MINUTES = 100_000
_LARGEST = 2**50
"""Bytes of a file, or of an EPN. One PiB: an experiment has some TB."""
_LARGEST_SUM = 2**56
"""Bytes of all files, or EPNs, of a database: SQLite cannot add up more than 2**63."""
_EARLIEST = int(datetime(1, 1, 2, tzinfo=UTC).timestamp())
_LATEST = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp())
_PLAIN = re.compile(rb"(/[A-Za-z0-9_.@+,=-]+)*")


@dataclass
class ImportResult:
    """What was taken from one file."""

    path: Path
    files: int = 0
    epns: int = 0
    known_better: int = 0
    """Rows about experiments that a walk has listed whole since."""
    odd: int = 0
    """Rows that cannot be understood."""
    odd_rows: list[str] = field(default_factory=list)
    """The first ten of them."""

    def note(self, reason: str) -> None:
        """Count a row that cannot be understood."""
        self.odd += 1
        if len(self.odd_rows) < _NAMED:
            self.odd_rows.append(reason)


def is_original(path: Path) -> bool:
    """Whether a file is a database of the original programs, or has views in their tables' place.

    Raises:
        CatalogueError: it cannot be read, or stays locked.
    """
    try:
        if not path.is_file() or not path.stat().st_size:
            return False
    except PermissionError as error:
        raise CatalogueError(
            f"the catalogue {path}: {error.strerror}", hint=access_hint(path)
        ) from None
    try:
        with opened_foreign(path) as db:
            return bool(_tables(db))
    except ImportRefused as error:
        if isinstance(error.__cause__, sqlite3.OperationalError):  # locked: nobody can say
            raise CatalogueError(
                error.message,
                hint="see who has it open (fuser), and whether its disk is full (df)",
            ) from None
        return not isinstance(error.__cause__, sqlite3.Error)


def check_original(path: Path) -> None:
    """Look whether all of an original's file can be taken, and take nothing.

    Raises:
        ImportRefused: it cannot.
    """
    with opened_foreign(path) as db:
        _checked(path, db)


def import_file(
    catalogue: CatalogueAddress, path: Path, *, timezone: ZoneInfo, root: str
) -> ImportResult:
    """Take the rows of an original's file into the catalogue.

    Of two rows about one file, the one with the later time counts, then the larger size, so the
    order of files does not matter. Doing it twice changes nothing. `root` is the folder at the
    facility that experiments, or the folders of the beamlines, are in. All of the file is checked
    before anything is stored, at the same instant of it.

    Raises:
        ImportRefused: the file has no such tables, is damaged, is no SQLite file, or has values
            that no file can have: nothing was taken from it.
        CatalogueError: the catalogue cannot be used.
    """
    with opened_foreign(path) as db:
        tables = _checked(path, db)
        taken = ImportResult(path)
        sighting = ScanWriter.begin(catalogue, "import", str(path))
        importer = _Importer(sighting, taken, LegacyTimes(timezone), os.fsencode(root.rstrip("/")))
        try:
            if "files" in tables:
                importer.files(db.rows("SELECT epn, path, size, modified FROM files"))
            if "epns" in tables:
                importer.epns(db.rows(_epns_query(tables["epns"])))
        except sqlite3.Error as error:
            part = "a part of it was taken; " if taken.files or taken.epns else NOTHING_TAKEN
            raise ImportRefused(
                f"{path}: {why(error)}",
                hint=f"{part}import it again once it can be read to its end",
            ) from None
        sighting.end()
        return taken


_Tables = dict[str, frozenset[str]]
"""By name of a table: its columns."""


def _tables(db: ForeignDatabase) -> _Tables:
    """Which of the originals' tables there are; none in a catalogue of ours.

    Raises:
        ImportRefused: there is something else in the place of one.
    """
    names = db.names()
    if "alembic_version" in names:
        return {}
    found = {name: db.columns(name) for name in ("files", "epns") if name in names}
    wanted = {"files": _FILES, "epns": _EPNS}
    return {name: columns for name, columns in found.items() if wanted[name] <= columns}


def _checked(path: Path, db: ForeignDatabase) -> _Tables:
    """The originals' tables; their pages and all values in them were looked at.

    Raises:
        ImportRefused: there are none, or the file is damaged or makes no sense.
    """
    tables = _tables(db)
    if not tables:
        raise ImportRefused(
            f"{path} has no table files(epn, path, size, modified) or epns(epn, size, modified)",
            hint="name a file that as-walker or the original asynchy wrote",
        )
    db.check(tables)
    if "files" in tables:
        _check_values(path, db, "files", ("size",), named="path")
    if "epns" in tables:
        sizes = ("size", "bytesTransferred") if "bytesTransferred" in tables["epns"] else ("size",)
        _check_values(path, db, "epns", sizes, named="epn")
    return tables


def _check_values(
    path: Path, db: ForeignDatabase, table: str, sizes: Iterable[str], *, named: str
) -> None:
    """Refuse a table with values that no program wrote: what else it says is worth nothing.

    Raises:
        ImportRefused: one of its rows is such.
    """
    number = "typeof(modified) IN ('integer', 'real') AND"
    tests = [
        (f"instr({named}, char(0)) > 0", (), f"{named} has a NUL character in it", named),
        (
            f"{number} modified NOT BETWEEN ? AND ?",
            (_EARLIEST, _LATEST),
            "modified, in seconds, is not within the years 1 to 9999",
            "modified",
        ),
    ]
    for size in sizes:
        is_too_large = f"abs(CAST({size} AS REAL)) > ?"
        tests.append((is_too_large, (_LARGEST,), f"{size} is more than 1 PiB", size))
    for test, values, what, column in tests:
        row = db.first(f"SELECT {named}, {column} FROM {table} WHERE {test}", values)  # noqa: S608
        if row is not None:
            raise ImportRefused(
                f"{path}: {table}: {what}: {_told(row[1])}, in the row of {_told(row[0])}",
                hint=f"{NOTHING_TAKEN}look for a good copy of it, or correct the row in a copy",
            )
    for size in sizes:
        total = db.first(f"SELECT total(max({size}, 0)) FROM {table}")  # noqa: S608 - a constant
        if total is not None and total[0] > _LARGEST_SUM:
            raise ImportRefused(
                f"{path}: {table}: {size} adds up to {total[0]:.3g} bytes, more than 64 PiB",
                hint=f"{NOTHING_TAKEN}look for a good copy of it",
            )


def _epns_query(columns: frozenset[str]) -> str:
    complete = "complete" if "complete" in columns else "0"
    moved = "bytesTransferred" if "bytesTransferred" in columns else "0"
    return f"SELECT epn, size, modified, {complete}, {moved} FROM epns"  # noqa: S608 - constants


class LegacyTimes:
    """Naive times as the originals wrote them, into seconds since 1970 in UTC."""

    def __init__(self, timezone: ZoneInfo) -> None:
        self._timezone = timezone
        self._minutes: dict[bytes, int] = {}

    def seconds(self, value: object) -> int:
        """The time as `2019-07-01 08:00:00[.123456]`, with a `T`, or as a number of seconds.

        Raises:
            ValueError: it is none of these.
        """
        if not isinstance(value, bytes):
            if isinstance(value, (int, float)):
                return int(value)
            raise ValueError(f"no time: {value!r}")
        start = self._minutes.get(value[:16])
        if start is None:
            start = self._start(value)
        if len(value) > 19 and value[19:20] != b".":  # with a zone of its own
            return int(datetime.fromisoformat(value.decode()).timestamp())
        return start + int(value[17:19] or 0)

    def _start(self, value: bytes) -> int:
        text = value[:16].decode()
        start = int(datetime.fromisoformat(text).replace(tzinfo=self._timezone).timestamp())
        if len(self._minutes) >= _MINUTES:
            self._minutes.clear()
        self._minutes[value[:16]] = start
        return start


class _Importer:
    def __init__(
        self, sighting: ScanWriter, taken: ImportResult, moments: LegacyTimes, root: bytes
    ) -> None:
        self._sighting = sighting
        self._taken = taken
        self._seconds = moments.seconds
        self._root = root
        self._known: dict[bytes, int | None] = {}
        """By path of the experiment's folder: its id; None if a walk knows it better."""

    def files(self, batches: Iterable[list[tuple[object, ...]]]) -> None:
        for batch in batches:
            self._batch(batch)
        known = {identity for identity in self._known.values() if identity is not None}
        self._sighting.finish_all(sorted(known))

    def _batch(self, batch: list[tuple[object, ...]]) -> None:
        by_experiment: dict[int, list[Row]] = {}
        taken, seconds = self._taken, self._seconds
        self._remember(batch)
        epn: object = None
        folder, skip = b"\0", 0
        rows: list[Row] | None = None
        for row in batch:
            try:
                path = row[1]
                assert isinstance(path, bytes)
                if row[0] != epn or not path.startswith(folder):
                    epn = None  # until it is understood
                    folder, _ = self._located(row[0], path)
                    identity = self._known[folder]
                    epn, skip = row[0], len(folder)
                    rows = None if identity is None else by_experiment.setdefault(identity, [])
                if rows is None:
                    taken.known_better += 1
                    continue
                name = path[skip:]
                if not is_inside(name):
                    raise ValueError("its path is not in the EPN's folder")
                size = row[2]
                if type(size) is not int or size < 0:
                    size = _size(size)
                rows.append((name, size, seconds(row[3]), None))
            except (ValueError, AssertionError, OverflowError) as error:
                taken.note(f"{_told(row[0])}, {_told(row[1])}: {error}")
        for identity, files in by_experiment.items():
            taken.files += len(files)
            self._sighting.add(identity, files)

    def _remember(self, batch: list[tuple[object, ...]]) -> None:
        """Store the experiments of rows, in one transaction: each waits for the disk."""
        found: dict[bytes, LocatedExperiment] = {}
        epn: object = None
        folder = b"\0"
        for row in batch:
            path = row[1]
            if not isinstance(path, bytes) or (row[0] == epn and path.startswith(folder)):
                continue
            try:
                folder, located = self._located(row[0], path)
            except ValueError:
                epn = None
                continue
            epn = row[0]
            if folder not in self._known:
                found[folder] = located
        stored = self._sighting.experiments(found.values()) if found else []
        for folder, (identity, walked) in zip(found, stored, strict=True):
            self._known[folder] = identity if walked is None else None

    def _located(self, epn: object, path: bytes) -> tuple[bytes, LocatedExperiment]:
        """The folder of a file's experiment, with a slash at its end, and where it is.

        Raises:
            ValueError: it is not an EPN, or the path is not in its folder.
        """
        epn = _text(epn)
        parsed = Epn.parse(epn.decode("latin-1"))
        if parsed is None:
            raise ValueError("not an EPN")
        before, found, _ = path.partition(b"/" + epn + b"/")
        if not found and path.startswith(epn + b"/"):
            before = b""  # without the path of the folder
            folder = epn + b"/"
        elif found:
            folder = before + found
        else:
            raise ValueError("its path is not in the EPN's folder")
        source = folder.rstrip(b"/") if folder.startswith(b"/") else b""
        if _PLAIN.fullmatch(source) is None:
            source = b""
        experiment = Experiment(self._beamline(before), parsed)
        return folder, LocatedExperiment(experiment, source.decode("ascii"))

    def _beamline(self, before: bytes) -> str:
        """The beamline, from the path before the EPN: `/data/mx` is mx, `/data` is none."""
        if before == self._root or before.count(b"/") < 2:
            return ""
        name = before.rpartition(b"/")[2]
        return name.decode("ascii") if _PLAIN.fullmatch(b"/" + name) else ""

    def epns(self, batches: Iterable[list[tuple[object, ...]]]) -> None:
        for batch in batches:
            self._sighting.report(filter(None, map(self._reported, batch)))

    def _reported(self, row: tuple[object, ...]) -> LegacyEpnRow | None:
        epn, size, modified, complete, moved = row
        try:
            parsed = Epn.parse(_text(epn).decode("latin-1"))
            if parsed is None:
                raise ValueError("not an EPN")
            when = None if modified is None else self._seconds(modified)
            said = LegacyEpnRow(
                epn=parsed,
                size=_size(size or 0),
                modified=None if when is None else datetime.fromtimestamp(when, UTC),
                complete=bool(complete),
                moved=_size(moved or 0),
            )
        except (ValueError, OverflowError) as error:
            self._taken.note(f"{_told(epn)}: {error}")
            return None
        self._taken.epns += 1
        return said


def _text(epn: object) -> bytes:
    """An EPN as it was written; one without a letter is a number in some databases."""
    if type(epn) is int:
        return str(epn).encode()
    if not isinstance(epn, bytes):
        raise ValueError("not an EPN")
    return epn


def _size(value: object) -> int:
    if isinstance(value, (int, float)) and 0 <= value < 2**63:
        return int(value)
    raise ValueError(f"no size: {_told(value)}")


def _told(value: object) -> str:
    return escaped(value, limit=200) if isinstance(value, bytes) else repr(value)
