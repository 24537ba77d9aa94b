"""Experiments at the facility, their copies at home, and what a listing of them says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from asynchy.domain.epn import Epn


@dataclass(frozen=True, order=True)
class Experiment:
    """The tree of files of one EPN on one beamline at the facility."""

    beamline: str
    epn: Epn


@dataclass(frozen=True)
class Located:
    """An experiment and where it lies."""

    experiment: Experiment
    source: str
    """Absolute path at the facility, without a slash at the end."""


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
