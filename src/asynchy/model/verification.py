"""Levels of proof that a file at home equals the facility's, and kinds of damage."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple

from asynchy.model.file_times import same_time


class Level(IntEnum):
    """The level of proof of a file, or of every file of a copy: higher is stronger.

    None: nothing is proven, or it is not known. The numbers are stored in the catalogue; people and
    JSON get the name.
    """

    SIZE = 1
    """It has the size and the time that the facility reports."""
    TRANSPORT = 2
    """The engine checked what it received: rsync's checksum of the whole file."""
    SOURCE = 3
    """A digest made from the file at the facility equals that of the file at home."""

    @property
    def word(self) -> str:
        """Its name in configs, tables and JSON: `size`, `transport`, `source`."""
        return self.name.lower()

    def __str__(self) -> str:
        return self.word


class ComparisonMethod(Enum):
    """How the content of files at the facility is compared, the cheapest first."""

    SHA256SUM = "sha256sum at the facility"
    RSYNC = "rsync --checksum"
    READ = "second read over SFTP"


class Damage(StrEnum):
    """Findings about a file at home. The values are stored in the catalogue."""

    DIFFERENT = "different"
    """Other bytes than at the facility, also after it was fetched again."""
    CHANGED = "changed"
    """Other bytes than it had when it was last proven, at the same size and time."""
    EDITED = "changed at home"
    """Another size or time than it had when it arrived: a person works with it. Not damage: a
    transfer leaves it alone while the facility's file is unchanged.
    """
    MISSING = "missing"
    """No file is in its place, or none as it was proven and as the facility has it."""


class Recorded(NamedTuple):
    """The recorded facts of a file when it arrived."""

    size: int
    modified: int
    """Its time at the facility, in seconds since 1970."""
    at_home: int | None = None
    """The time that it had at home, if the file system there could not hold the facility's."""

    @property
    def facts(self) -> tuple[int, int]:
        """Its size and time at the facility."""
        return self.size, self.modified

    def has_time(self, at_home: int) -> bool:
        """Whether a time at home is the one that it had when it arrived."""
        return same_time(at_home, self.modified) or at_home == self.at_home


def is_edited(found: os.stat_result | None, arrived: Recorded) -> bool:
    """Whether a person changed a file that arrived with a size and time.

    So it is if what was found in its place has another size or time, or is a link or a special
    file. A file that is not there, or a folder in its place, is missing.
    """
    if found is None or stat.S_ISDIR(found.st_mode):
        return False
    if not stat.S_ISREG(found.st_mode):
        return True
    changed = found.st_mtime_ns // 1_000_000_000
    return found.st_size != arrived.size or not arrived.has_time(changed)


@dataclass(frozen=True)
class CopyFile:
    """A file that a copy holds."""

    path: bytes
    """Relative to the copy's folder."""
    size: int
    modified: int
    """Seconds since 1970 in UTC, or `TIME_UNKNOWN`."""
    level: Level | None
    """Its level of proof; it does not count while there is damage."""
    checked: datetime
    """When that was proven."""
    sha256: bytes | None
    """Of its bytes at home; None if it has not been computed."""
    damage: Damage | None
    at_home: int | None = None
    """As of `Recorded`."""

    @property
    def recorded(self) -> Recorded:
        """Its facts when it arrived."""
        return Recorded(self.size, self.modified, self.at_home)

    def is_edited(self, found: os.stat_result | None) -> bool:
        """Whether a person changed it, by the stat result of its place."""
        return is_edited(found, self.recorded)

    def is_as_arrived(self, found: os.stat_result | None) -> bool:
        """Whether what was found in its place is a file of its size and time."""
        return found is not None and stat.S_ISREG(found.st_mode) and not self.is_edited(found)

    @property
    def proven(self) -> Level | None:
        """Its present level of proof."""
        return None if self.damage else self.level


@dataclass(frozen=True)
class Check:
    """One look at the bytes of a copy; never changed once stored."""

    kind: str
    """`verify`: compared with the facility; `audit`: against what was known at home."""
    way: str
    """How, as text for people: `sha256sum at the facility`, `rsync --checksum`, …."""
    started: datetime
    ended: datetime
    host: str
    pid: int
    files: int
    """Files whose bytes were read."""
    bytes: int
    different: int
    """Files with other bytes than they should have."""
    missing: int
    extra: int
    """Files at home that the catalogue does not know to be part of the copy."""
    digested: int
    """Files that had no SHA-256 and got one."""
    edited: int
    """Files that people changed at home."""
    reason: str | None
    """Why it did not look at all that it was to look at; None if it did."""
    whole: bool
    """Whether it came to its end, be it that some files could not be read."""


def batches(
    files: Iterable[CopyFile], most_files: int, most_bytes: int
) -> Iterator[list[CopyFile]]:
    """Files in order, some at a time: as many as that, and as large together.

    A file that is larger alone is a batch of its own.
    """
    batch: list[CopyFile] = []
    size = 0
    for file in files:
        if batch and (len(batch) >= most_files or size + file.size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch
