"""The SQLite files of the original programs, read without changing them.

as-walker writes `files(epn, path, size, modified)`, people merge them into `epns(epn, size,
modified, complete, bytesTransferred)` (docs/catalogue.md). Times are naive, in the time zone where
they were written.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from asynchy.catalogue.experiments import Reported
from asynchy.catalogue.reading import opened_for_reading
from asynchy.catalogue.sightings import Row, Sighting
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment, Located
from asynchy.domain.paths import is_inside
from asynchy.domain.text import shown
from asynchy.errors import CatalogueError, ImportRefused

_FILES = frozenset({"epn", "path", "size", "modified"})
_EPNS = frozenset({"epn", "size", "modified"})
_BATCH = 10_000
_NAMED = 10
_MINUTES = 100_000
_PLAIN = re.compile(rb"(/[A-Za-z0-9_.@+,=-]+)*")


@dataclass
class Taken:
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
    """Whether a file is a database of the original programs.

    Raises:
        CatalogueError: it cannot be read, or stays locked.
    """
    if not path.is_file() or not path.stat().st_size:
        return False
    try:
        with opened_for_reading(path) as db:
            db.text_factory = bytes
            return bool(_tables(db))
    except sqlite3.OperationalError as error:  # locked: nobody can say what it is
        raise CatalogueError(
            f"{path}: {error}",
            hint="see who has it open (fuser), and whether its disk is full (df)",
        ) from None
    except sqlite3.DatabaseError:
        return False


def import_file(catalogue: Path, path: Path, *, timezone: ZoneInfo, root: str) -> Taken:
    """Take the rows of an original's file into the catalogue.

    Of two rows about one file, the one with the later time counts, then the larger size, so the
    order of files does not matter. Doing it twice changes nothing. `root` is the folder at the
    facility that experiments, or the folders of the beamlines, lie in.

    Raises:
        ImportRefused: the file has no such tables, is damaged, or is no SQLite file: nothing of it
            was taken.
        CatalogueError: the catalogue cannot be used.
    """
    with _reading(path) as db:
        tables = _layout(path, db)
        taken = Taken(path)
        sighting = Sighting.begin(catalogue, "import", str(path))
        importer = _Importer(sighting, taken, Moments(timezone), os.fsencode(root.rstrip("/")))
        if "files" in tables:
            importer.files(db.execute("SELECT epn, path, size, modified FROM files"))
        if "epns" in tables:
            importer.epns(db)
        sighting.end()
        return taken


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise ImportRefused(f"{path} is not there", hint="name a file that as-walker wrote")
    try:
        with opened_for_reading(path) as db:
            db.text_factory = bytes
            yield db
    except sqlite3.Error as error:
        raise ImportRefused(
            f"{path}: {error}", hint="nothing of it was taken; look for a good copy of it"
        ) from None


def _layout(path: Path, db: sqlite3.Connection) -> frozenset[str]:
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != b"ok":
        raise ImportRefused(
            f"{path} is damaged: {shown(verdict, limit=200)}",
            hint="nothing of it was taken; look for a good copy of it",
        )
    found = _tables(db)
    if not found:
        raise ImportRefused(
            f"{path} has no table files(epn, path, size, modified) or epns(epn, size, modified)",
            hint="name a file that as-walker or the original asynchy wrote",
        )
    return found


def _tables(db: sqlite3.Connection) -> frozenset[str]:
    """Which of the originals' tables there are; none in a catalogue of ours."""
    if list(db.execute("PRAGMA table_info(alembic_version)")):
        return frozenset()
    found = set()
    for name, wanted in (("files", _FILES), ("epns", _EPNS)):
        columns = {row[1].decode() for row in db.execute(f"PRAGMA table_info({name})")}
        if wanted <= columns:
            found.add(name)
    return frozenset(found)


class Moments:
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
    def __init__(self, sighting: Sighting, taken: Taken, moments: Moments, root: bytes) -> None:
        self._sighting = sighting
        self._taken = taken
        self._seconds = moments.seconds
        self._root = root
        self._known: dict[bytes, int | None] = {}
        """By path of the experiment's folder: its id; None where a walk knows it better."""

    def files(self, rows: sqlite3.Cursor) -> None:
        while batch := rows.fetchmany(_BATCH):
            self._batch(batch)
        for identity in set(self._known.values()) - {None}:
            assert identity is not None
            self._sighting.finish(identity)

    def _batch(self, batch: list[tuple[object, object, object, object]]) -> None:
        by_experiment: dict[int, list[Row]] = {}
        taken, seconds = self._taken, self._seconds
        epn: object = None
        folder, skip = b"\0", 0
        rows: list[Row] | None = None
        for row in batch:
            try:
                path = row[1]
                assert isinstance(path, bytes)
                if row[0] != epn or not path.startswith(folder):
                    epn = None  # until it is understood
                    folder, identity = self._experiment(row[0], path)
                    epn, skip = row[0], len(folder)
                    rows = None if identity is None else by_experiment.setdefault(identity, [])
                if rows is None:
                    taken.known_better += 1
                    continue
                name = path[skip:]
                if not is_inside(name):
                    raise ValueError("its path does not lie in the EPN's folder")
                size = row[2]
                if type(size) is not int or size < 0:
                    size = _size(size)
                rows.append((name, size, seconds(row[3]), None))
            except (ValueError, AssertionError, OverflowError) as error:
                taken.note(f"{_told(row[0])}, {_told(row[1])}: {error}")
        for identity, files in by_experiment.items():
            taken.files += len(files)
            self._sighting.add(identity, files)

    def _experiment(self, epn: object, path: bytes) -> tuple[bytes, int | None]:
        """The folder of a file's experiment, with a slash at its end, and the experiment's id."""
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
            raise ValueError("its path does not lie in the EPN's folder")
        if folder not in self._known:
            source = folder.rstrip(b"/") if folder.startswith(b"/") else b""
            if _PLAIN.fullmatch(source) is None:
                source = b""
            experiment = Experiment(self._beamline(before), parsed)
            identity, walked = self._sighting.experiment(
                Located(experiment, source.decode("ascii"))
            )
            self._known[folder] = identity if walked is None else None
        return folder, self._known[folder]

    def _beamline(self, before: bytes) -> str:
        """The beamline, from the path before the EPN: `/data/mx` is mx, `/data` is none."""
        if before == self._root or before.count(b"/") < 2:
            return ""
        name = before.rpartition(b"/")[2]
        return name.decode("ascii") if _PLAIN.fullmatch(b"/" + name) else ""

    def epns(self, db: sqlite3.Connection) -> None:
        columns = {row[1].decode() for row in db.execute("PRAGMA table_info(epns)")}
        complete = "complete" if "complete" in columns else "0"
        moved = "bytesTransferred" if "bytesTransferred" in columns else "0"
        query = f"SELECT epn, size, modified, {complete}, {moved} FROM epns"  # noqa: S608 - constants
        self._sighting.report(filter(None, map(self._reported, db.execute(query))))

    def _reported(self, row: tuple[object, ...]) -> Reported | None:
        epn, size, modified, complete, moved = row
        try:
            parsed = Epn.parse(_text(epn).decode("latin-1"))
            if parsed is None:
                raise ValueError("not an EPN")
            when = None if modified is None else self._seconds(modified)
            said = Reported(
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
    return shown(value, limit=200) if isinstance(value, bytes) else repr(value)
