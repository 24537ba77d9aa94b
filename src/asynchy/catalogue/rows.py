"""Rows of the catalogue, as what they stand for."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from asynchy.catalogue import process
from asynchy.domain.attempt import Attempt, Claim, ServiceState, Verdict
from asynchy.domain.copy_record import CopyRecord, LastAttempt, Replaced
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Copy, Experiment
from asynchy.domain.level import Check


def claim_of(row: Row[Any]) -> Claim:
    """A claim."""
    return Claim(host=row.host, pid=row.pid, since=row.since, heartbeat=row.heartbeat)


def living_of(row: Row[Any] | None) -> Claim | None:
    """A claim, where its process is alive."""
    if row is None or not process.is_alive(claim_of(row), row.process, datetime.now(UTC)):
        return None
    return claim_of(row)


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


@functools.lru_cache(2**16)
def experiment_of(beamline: str, epn: str) -> Experiment:
    """An experiment; several queries of an overview name the same ones."""
    return Experiment(beamline, Epn(epn))


@functools.lru_cache(1000)
def _folder(path: str) -> Path:
    """The path of a project folder, of which many copies have the same."""
    return Path(path)


def copy_record_of(row: Row[Any], lease: Row[Any] | None) -> CopyRecord:
    """A copy with its experiment, its latest attempt, its audits, and the lease on it."""
    destination = Path(row.destination)
    last = None
    if row.verdict is not None:
        last = LastAttempt(row.ended, Verdict(row.verdict), row.reason)
    return CopyRecord(
        id=row.id,
        copy=Copy(
            experiment=experiment_of(row.beamline, row.epn),
            project=row.project,
            source=row.source,
            project_folder=_folder(row.project_folder or str(destination.parent)),
            destination=destination,
        ),
        completed=row.completed,
        listed=row.completed_listing,
        suspect=row.doubted,
        level=row.level,
        verified=row.verified,
        damaged=row.damaged,
        missing=row.missing,
        files=row.files,
        bytes=row.bytes,
        attempts=row.tried or 0,
        transfers=row.transfers or 0,
        last=last,
        audits=row.audits or 0,
        audited=row.audited,
        last_audit=row.last_audit or 0,
        claim=living_of(lease),
        forgotten=row.forgotten,
        forget_reason=row.forget_reason,
        losses=row.losses,
        edited=row.edited,
        replaced=Replaced(row.replaced_files, row.replaced_bytes, row.replaced_by_less),
        replaced_at=row.replaced,
    )
