"""The messages between the coordinator and the processes of its streams."""

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
    """The server of a stream, and its limits; the first message to it."""

    remote: Server
    patient: bool
    """Whether it waits for a connection if this machine has none to spare."""
    bandwidth: BandwidthTimetable | None
    """The limit for all streams of this machine together; None: there is no limit."""


@dataclass(frozen=True)
class Task:
    """The task of a stream. Work units follow, and `None` at the end."""

    copy: Copy
    scratch: Path
    """The folder for files on their way."""
    replaced: Path
    """Where replaced files are kept; see `Job`."""
    number: int
    """Of the stream; its temporary files are named by it."""
    modes: Modes
    """The permission bits of arriving files and folders."""
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
    """Bytes that arrived since the last message of this kind."""

    bytes: int


@dataclass(frozen=True)
class Alive:
    """The stream gets on, or waits for something that has a limit."""


@dataclass(frozen=True)
class Durable:
    """Part of a work unit is on the disk: files are in place, ranges in their partial file."""

    unit: int
    files: int
    bytes: int
    extents: dict[int, list[Extent]]
    """By the number of the chunk in its work unit."""


@dataclass(frozen=True)
class Done:
    """All of a work unit is durable, or has failed."""

    unit: int


@dataclass(frozen=True)
class Failed:
    """A chunk could not be fetched."""

    unit: int
    chunk: int
    fault: Fault
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Idle:
    """The stream has done its task, and waits for another."""


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
