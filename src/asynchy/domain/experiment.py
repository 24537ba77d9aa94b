"""Experiments at the facility, their copies at home, and what a listing of them says."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from asynchy.domain.epn import Epn

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
class Located:
    """An experiment and where it lies."""

    experiment: Experiment
    source: str
    """Absolute path at the facility, without a slash at the end."""
    target: str | None = None
    """Where the symbolic link points to that `source` is, fit to be read; None: it is a folder, or
    a link whose target the server does not tell."""


@dataclass(frozen=True)
class BrokenLink:
    """A symbolic link in the place of an experiment's or a beamline's folder, leading to none."""

    path: str
    """Its absolute path at the facility."""
    target: str | None
    """Where it points to, fit to be read; None: the server does not tell."""
    reason: str
    """Why there is no folder to list, with the target."""
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
class Amount:
    """How much there is of something."""

    bytes: int
    files: int


class Kind(Enum):
    """What an entry of a listing is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    SPECIAL = "special file"
    """A FIFO, socket or device."""


@dataclass(frozen=True)
class Entry:
    """One line of a listing."""

    kind: Kind
    path: bytes
    """Relative to the experiment's folder, which itself is `.`."""
    size: int
    modified: int
    """Seconds since 1970 in UTC."""
    mode: int
    """Its permission bits at the facility, such as 0o644."""

    @property
    def mode_at_home(self) -> int:
        """The permission bits that a file or folder has at home.

        Its group may work with it, others may not change it; setuid and sticky are never brought,
        setgid is set on folders alone. In rsync's words: `--perms
        --chmod=Dg+s,ug+w,o-wx,ug+X --chmod=Du-s,D-t,Fug-s,F-t`.
        """
        folder = self.kind is Kind.FOLDER
        bits = (self.mode & 0o777 | 0o220) & ~0o003
        if folder or self.mode & 0o111:
            bits |= 0o110
        return bits | stat.S_ISGID if folder else bits

    def is_same(self, found: os.stat_result | None, *, size_only: bool = False) -> bool:
        """Whether what was found at home is this file as it is at the facility.

        It is where a regular file has the same size and, unless `size_only`, the same time in
        whole seconds: SFTP (version 3) tells no more of it.
        """
        if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != self.size:
            return False
        return size_only or found.st_mtime_ns // 1_000_000_000 == self.modified


class AtHome(Enum):
    """What is at home in the place of a listed entry."""

    AS_LISTED = "as listed"
    EDITED = "changed at home"
    """A file that a person changed since it arrived, while the facility's is as it was."""
    MISSING = "missing"
    """Nothing, or something else."""
    NOT_LOOKED = "not looked at"


@dataclass(frozen=True)
class Survey:
    """An experiment as listed at the facility, held against its copy at home."""

    listed_at: datetime
    """When the listing began."""
    files: int
    bytes: int
    folders: int
    left_out: int
    """Symlinks and special files that are not brought home."""
    missing_files: int
    """Files that are not at home yet, or differ."""
    missing_bytes: int
    missing_folders: int
    fingerprint: str
    """Equal for two listings of the same files (name, size, time)."""
    listing: int | None = None
    """Its number in the catalogue; None where it was not stored."""
    other_times: int = 0
    """Files that count as at home by their size alone; their time is another one."""
    edited_files: int = 0
    """Files that people changed at home; they are left alone and are not missing."""
