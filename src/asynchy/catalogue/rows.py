"""Rows of the catalogue, as what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from asynchy.catalogue import process
from asynchy.domain.attempt import Attempt, Claim, ServiceState, Verdict
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Copy, Experiment
from asynchy.domain.level import Check, Level
from asynchy.plan.checking import Kept


@dataclass(frozen=True)
class CopyStatus:
    """One copy as `asynchy status` shows it."""

    id: int
    """Its number in this catalogue."""
    epn: str
    beamline: str
    project: str
    destination: str
    completed: datetime | None
    level: Level | None
    """The weakest level of its files; None where nothing is proven, or it is not known what."""
    verified: datetime | None
    """When that was last established."""
    damaged: int
    """Files in which something was found wrong."""
    files: int | None
    bytes: int | None
    attempts: int
    last: Attempt | None
    claim: Claim | None


def claim_of(row: Row[Any]) -> Claim:
    """A claim."""
    return Claim(host=row.host, pid=row.pid, since=row.since, heartbeat=row.heartbeat)


def living_of(row: Row[Any] | None) -> Claim | None:
    """A claim, where its process is alive."""
    if row is None or not process.is_alive(claim_of(row), row.process, datetime.now(UTC)):
        return None
    return claim_of(row)


def is_unfinished(completed: datetime | None, last: Row[Any] | None) -> bool:
    """Whether a copy was not complete after its latest attempt, nor found so since."""
    if last is None or last.verdict == Verdict.COMPLETE:
        return False
    return completed is None or completed <= last.ended


def service_of(row: Row[Any]) -> ServiceState:
    """What a service last told."""
    fields = {
        name: getattr(row, name) for name in ServiceState.__dataclass_fields__ if name != "alive"
    }
    alive = process.is_alive(claim_of(row), row.process, datetime.now(UTC))
    return ServiceState(**fields, alive=alive)


def attempt_of(row: Row[Any]) -> Attempt:
    """An attempt."""
    fields = {name: getattr(row, name) for name in Attempt.__dataclass_fields__}
    return Attempt(**{**fields, "verdict": Verdict(row.verdict)})


def check_of(row: Row[Any]) -> Check:
    """A check."""
    return Check(**{name: getattr(row, name) for name in Check.__dataclass_fields__})


def kept_of(row: Row[Any], standing: Row[Any] | None) -> Kept:
    """A copy with its experiment, and the claim on it."""
    destination = Path(row.destination)
    return Kept(
        id=row.id,
        copy=Copy(
            experiment=Experiment(row.beamline, Epn(row.epn)),
            project=row.project,
            source=row.source,
            project_folder=destination.parent,
            destination=destination,
        ),
        complete=row.completed is not None,
        doubted=row.doubted,
        vanished=row.vanished,
        attempts=row.tried,
        audits=row.audits,
        audited=row.audited,
        claim=living_of(standing),
    )


def status_of(row: Row[Any], last: Row[Any] | None, claim: Row[Any] | None) -> CopyStatus:
    """A copy with its experiment, its latest attempt, and the claim on it."""
    return CopyStatus(
        id=row.id,
        epn=row.epn,
        beamline=row.beamline,
        project=row.project,
        destination=row.destination,
        completed=row.completed,
        level=row.level,
        verified=row.verified,
        damaged=row.damaged,
        files=row.files,
        bytes=row.bytes,
        attempts=row.tried or 0,
        last=None if last is None else attempt_of(last),
        claim=living_of(claim),
    )
