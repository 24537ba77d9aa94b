"""What the coordinator and the processes of its streams tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from asynchy.engines.chunks import Extent
from asynchy.engines.faults import Fault
from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.experiment import Copy
from asynchy.model.file_modes import Modes
from asynchy.ssh.server import Server


@dataclass(frozen=True)
class WorkerConfig:
    """What a stream connects to; the first message to it."""

    remote: Server
    patient: bool
    """Whether it waits for a connection where this machine has none to spare."""
    bandwidth: BandwidthTimetable | None
    """What all streams of this machine may take together; None: there is no limit."""


@dataclass(frozen=True)
class Task:
    """What a stream works on. Then come bundles, and `None` at the end."""

    copy: Copy
    scratch: Path
    """The folder for files on their way."""
    replaced: Path
    """Where files are kept that others take the place of; see `Job`."""
    number: int
    """Of the stream; its temporary files are named by it."""
    modes: Modes
    """The permission bits of what arrives."""
    size_only: bool
    """Whether files are compared by size alone."""
    time_tolerance: int
    """Seconds; see `model.file_times`."""


@dataclass(frozen=True)
class Ready:
    """The stream is connected."""

    round_trip: float
    """Seconds."""


@dataclass(frozen=True)
class NeedsWork:
    """The stream will soon have nothing left to ask for."""


@dataclass(frozen=True)
class Arrived:
    """So many bytes came since the last such message."""

    bytes: int


@dataclass(frozen=True)
class Alive:
    """The stream gets on, or waits for something that has a limit."""


@dataclass(frozen=True)
class Durable:
    """Some of a bundle is on the disk: files are in their places, ranges in their part."""

    bundle: int
    files: int
    bytes: int
    extents: dict[int, list[Extent]]
    """By the number of the piece in its bundle."""


@dataclass(frozen=True)
class Done:
    """All of a bundle is durable, or has failed."""

    bundle: int


@dataclass(frozen=True)
class Failed:
    """A piece could not be fetched."""

    bundle: int
    piece: int
    fault: Fault
    words: str
    hint: str | None = None


@dataclass(frozen=True)
class Idle:
    """All that the stream was given is done; it waits for another task."""


@dataclass(frozen=True)
class ConnectionLost:
    """The stream has no connection, or none any more, and ends."""

    reason: str
    hint: str | None
    distrust: bool = False
    """Whether it may be another server: nothing is tried again."""


@dataclass(frozen=True)
class LocalFailure:
    """The stream ends because of something on this machine, such as a full disk."""

    reason: str
    hint: str | None


Event: TypeAlias = (
    Ready
    | NeedsWork
    | Arrived
    | Alive
    | Durable
    | Done
    | Failed
    | Idle
    | ConnectionLost
    | LocalFailure
)
