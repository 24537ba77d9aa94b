"""Attempts (one run of an engine for a copy), their outcome, and claims on copies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """How an attempt ended. The values are stored in the catalogue."""

    COMPLETE = "complete"
    """Everything listed is at home, and the listing did not change meanwhile."""
    TRANSFERRED = "transferred"
    """Everything listed is at home, but it could not be established that no visit is running."""
    CHANGED = "changed"
    """The experiment kept changing at the facility while it was fetched."""
    DIFFERENT = "different"
    """Some files have other bytes than at the facility, also after they were fetched again."""
    FAILED = "failed"
    """The engine failed, or what it brought is not what was listed."""
    STOPPED = "stopped"
    """Stopped by a signal; fetched data is kept."""
    INTERRUPTED = "interrupted"
    """The process died in the middle of it; found out later by the claim that it left."""


@dataclass(frozen=True)
class EngineResult:
    """The result of one run of an engine."""

    ok: bool
    exit_code: int
    """The exit code of the program that did the work; minus the signal where one ended it."""
    files: int | None
    """Files moved; None if the program ended before it could report them."""
    bytes: int | None
    """Bytes that had to cross the network; None as well."""
    reason: str | None
    """Why it failed, as text for people; None if it did not."""
    hint: str | None
    """The hint, if one is known."""
    stderr: str
    """The last lines of the program's stderr."""
    stopped: bool = False
    """Whether we ended it, because we were asked to stop."""
    lost: bool = False
    """Whether the connection could not be made or broke off, so that trying again may help."""
    vanished: bool = False
    """Whether all that failed is that files vanished at the facility meanwhile."""


@dataclass(frozen=True)
class Attempt:
    """One run of an engine for a copy; never changed once stored."""

    started: datetime
    ended: datetime
    host: str
    pid: int
    engine: str
    chosen: str | None
    """Why that engine, as text for people; None if not recorded."""
    check: str
    """The check of the bytes that arrived, such as `transport`."""
    compare: str
    verdict: Verdict
    exit_code: int | None
    files: int | None
    """Files that this attempt moved; None if that is not known."""
    bytes: int | None
    """Bytes that this attempt moved; None if that is not known."""
    listed_at: datetime | None
    listed_files: int | None
    listed_bytes: int | None
    reason: str | None
    stderr: str


@dataclass(frozen=True)
class Claim:
    """That a process works on a copy."""

    host: str
    pid: int
    since: datetime
    heartbeat: datetime


@dataclass(frozen=True)
class ServiceState:
    """The latest state that a service has reported."""

    name: str
    host: str
    pid: int
    since: datetime
    heartbeat: datetime
    doing: str
    next_look: datetime | None
    trouble: str | None
    """The problem of its latest cycle; None if there was none."""
    alive: bool
