"""Experiments at the facility, their copies at home, and the entries of a listing."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from asynchy.model.epn import Epn
from asynchy.model.file_times import TIME_UNKNOWN, is_time, is_told_by_sftp
from asynchy.model.formatting import count, escaped

TIMEZONE = "Australia/Melbourne"
"""Where the facility is and the original programs ran: their naive times are of it."""


@dataclass(frozen=True, order=True)
class Experiment:
    """The tree of files of one EPN on one beamline at the facility."""

    beamline: str
    epn: Epn

    def __hash__(self) -> int:
        return hash((self.beamline, self.epn.text))


@dataclass(frozen=True)
class LocatedExperiment:
    """An experiment and where it is."""

    experiment: Experiment
    source: str
    """Absolute path at the facility, without a slash at the end."""
    target: str | None = None
    """The target, escaped, if `source` is a symbolic link; None: it is a folder, or the server does
    not report the target.
    """
    second: str | None = None
    """Another folder of the same EPN, whose files are not at home; None: there is none."""
    formerly: Experiment | None = None
    """The former name, which `experiment` replaces; None: it has the same name."""
    moved: bool = False
    """Whether it was in another folder before: the data here were not compared yet."""


@dataclass(frozen=True)
class BrokenLink:
    """A symbolic link in the place of an experiment's or a beamline's folder, leading to none."""

    path: str
    """Its absolute path at the facility."""
    target: str | None
    """Where it points to, fit to be read; None: the server does not report."""
    reason: str
    """Why it does not lead to a folder that can be listed, with the target."""
    experiment: Experiment | None = None
    """Whose folder it would be; None: a beamline's."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Copy:
    """An experiment at one destination at home, or where it is going to be."""

    experiment: Experiment
    project: str
    source: str
    """Absolute path at the facility, without a slash at the end."""
    project_folder: Path
    """Never created by asynchy: where it is missing, a mount or the mapping is wrong."""
    destination: Path

    @property
    def epn(self) -> Epn:
        """The EPN of the experiment."""
        return self.experiment.epn


@dataclass(frozen=True)
class DataSize:
    """How much there is of something."""

    bytes: int
    files: int


class EntryKind(Enum):
    """The kind of an entry of a listing."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    SPECIAL = "special file"
    """A FIFO, socket or device."""
    DOT_FILE = "dot file"
    """A file, folder or link that is left out because of its name; such a folder is not listed."""


@dataclass(frozen=True)
class Entry:
    """One line of a listing."""

    kind: EntryKind
    path: bytes
    """Relative to the experiment's folder, which itself is `.`."""
    size: int
    modified: int
    """Seconds since 1970 in UTC, or `TIME_UNKNOWN`."""
    mode: int
    """Its permission bits at the facility, such as 0o644."""

    def is_same(self, found: os.stat_result | None, *, size_only: bool = False) -> bool:
        """Whether what was found at home is this file as it is at the facility.

        It is where a regular file has the same size and, unless `size_only`, the same time.
        """
        if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != self.size:
            return False
        return size_only or is_time(found, self.modified)


def is_changed(entry: Entry, facts: tuple[int, int] | None) -> bool:
    """Whether rsync now reports a time that SFTP could not report when the file arrived.

    `facts` are the recorded size and time.
    """
    was_unknown = facts == (entry.size, TIME_UNKNOWN)
    return was_unknown and not is_told_by_sftp(entry.modified)


@dataclass(frozen=True)
class LeftOutCounts:
    """The entries of an experiment that are not brought home because of their kind."""

    dot_files: int = 0
    """Names that begin with a dot; a folder counts as one, with all that is in it."""
    symlinks: int = 0
    special_files: int = 0

    def __str__(self) -> str:
        """The numbers, such as `2 dot files or folders, 1 link`; empty: nothing is left out."""
        numbers = {
            ("dot file or folder", "dot files or folders"): self.dot_files,
            ("link", "links"): self.symlinks,
            ("special file", "special files"): self.special_files,
        }
        return ", ".join(count(number, *nouns) for nouns, number in numbers.items() if number)

    def without(self, brought: LeftOutCounts) -> LeftOutCounts:
        """The counts without those that were brought home."""
        return LeftOutCounts(
            max(0, self.dot_files - brought.dot_files),
            max(0, self.symlinks - brought.symlinks),
            max(0, self.special_files - brought.special_files),
        )


NOTHING_LEFT_OUT = LeftOutCounts()


class LocalState(Enum):
    """The state at home of a listed entry."""

    AS_LISTED = "as listed"
    EDITED = "changed at home"
    """A file that a person changed since it arrived, while the facility's is as it was."""
    MISSING = "missing"
    """Nothing, or something else."""
    NOT_LOOKED = "not looked at"


OPEN_IT = "ask the facility to open it to the user"
"""The hint for a folder that may not be read."""


@dataclass(frozen=True)
class Unlisted:
    """A folder of an experiment that could not be listed: its content is not known."""

    path: bytes
    """Relative to the experiment's folder."""
    reason: str
    to_do: str = OPEN_IT

    def __str__(self) -> str:
        return f"{escaped(self.path, limit=200)}: {self.reason}"


@dataclass(frozen=True)
class DifferentCounts:
    """Files that are at home, but not as listed, by their difference from the facility's."""

    newer: int = 0
    """The facility's has a later time."""
    changed: int = 0
    """The one at home has a later time."""
    resized: int = 0
    """Both have the same time, and another size."""

    @property
    def files(self) -> int:
        """All of them."""
        return self.newer + self.changed + self.resized


NOTHING_DIFFERENT = DifferentCounts()


PathPair = tuple[bytes, bytes]


def same_place_words(other_path: bytes) -> str:
    """Why a file cannot be at home: another listed one has its place there."""
    return (
        "the file system at home does not distinguish its name from "
        f"{escaped(other_path, limit=200)}; only one of them can be there "
        "(ask the facility to rename one, or use another file system)"
    )


@dataclass(frozen=True)
class ListingDiff:
    """An experiment as listed at the facility, compared with its copy at home."""

    listed_at: datetime
    """When the listing began."""
    files: int
    bytes: int
    folders: int
    missing_files: int
    """Files that are not at home yet, or differ."""
    missing_bytes: int
    missing_folders: int
    fingerprint: str
    """Equal for two listings of the same files (name, size, time)."""
    listing: int | None = None
    """Its number in the catalogue; None if it was not stored."""
    other_times: int = 0
    """Files that count as at home by their size alone; their time is another one."""
    others: LeftOutCounts = NOTHING_LEFT_OUT
    """Its dot files, links and special files."""
    brought: LeftOutCounts = NOTHING_LEFT_OUT
    """Those of them that are at home."""
    edited_files: int = 0
    """Files that people changed at home; they are left alone and are not missing."""
    different: DifferentCounts = NOTHING_DIFFERENT
    """Those of the missing files in whose place is another version."""
    unlisted: tuple[Unlisted, ...] = ()
    """Folders that could not be listed; empty: the listing is whole."""
    missing_in_blocks: int = 0
    """Bytes that the missing files take, each in whole blocks of the destination."""
    same_place: PathPair | None = None
    """The first two listed paths that lead to one file at home, of which only one can be there."""

    @property
    def absent_files(self) -> int:
        """Those of the missing files in whose place no file is."""
        return self.missing_files - self.different.files

    @property
    def missing_space(self) -> int:
        """Bytes that the missing files need at the destination."""
        return max(self.missing_bytes, self.missing_in_blocks)

    @property
    def left_out(self) -> LeftOutCounts:
        """Entries that are not at home because of their kind."""
        return self.others.without(self.brought)
