"""Rows of the catalogue, as what they stand for."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from asynchy.localfs import process_identity
from asynchy.model.attempt import Attempt, Claim, ServiceState, Verdict
from asynchy.model.copy_record import NOTHING_REPLACED, CopyRecord, LastAttempt, Replaced
from asynchy.model.epn import Epn
from asynchy.model.experiment import NOTHING_LEFT_OUT, Copy, Experiment, LeftOutCounts
from asynchy.model.verification import Check

_VERDICTS = {verdict.value: verdict for verdict in Verdict}


def claim_of(row: Row[Any]) -> Claim:
    """A claim."""
    return Claim(host=row.host, pid=row.pid, since=row.since, heartbeat=row.heartbeat)


def living_of(row: Row[Any] | None, server_time: datetime | None = None) -> Claim | None:
    """A claim, where its process is alive.

    `server_time`: of the database, by which leases end that several machines may take; None: there
    is one machine, which sees whether the process lives.
    """
    if row is None:
        return None
    claim = claim_of(row)
    if not process_identity.is_alive(claim, row.process, server_time or datetime.now(UTC)):
        return None
    if server_time is not None and server_time - claim.heartbeat >= process_identity.STALE:
        return None
    return claim


def service_of(row: Row[Any]) -> ServiceState:
    """What a service last told."""
    fields = {
        name: getattr(row, name) for name in ServiceState.__dataclass_fields__ if name != "alive"
    }
    alive = process_identity.is_alive(claim_of(row), row.process, datetime.now(UTC))
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


def copy_record_of(row: Sequence[Any], lease: Claim | LastAttempt | None) -> CopyRecord:
    """A copy that was not forgotten: with its experiment, its latest attempt, audits and lease.

    `lease`: the process that works on it, or the attempt of one that died meanwhile.

    `row` is in the order in which `overview` asks: to get each value by its name takes longer than
    all else here.
    """
    (
        number, _, project, place, project_folder, completed, listed, files, size, level, verified,
        damaged, missing, suspect, losses, edited,
        replaced_files, replaced_bytes, by_less, replaced_at, symlinks, special_files, lost,
        dot_files, all_symlinks, all_special_files,
        epn, beamline, source, tried, transfers, audits, audited, last_audit,
        verdict, reason, ended,
    ) = row  # fmt: skip
    last, replaced = None, NOTHING_REPLACED
    if verdict is not None:
        last = LastAttempt(ended, _VERDICTS[verdict], reason)
    if isinstance(lease, LastAttempt):
        last, tried = lease, (tried or 0) + 1
    if replaced_files:
        replaced = Replaced(replaced_files, replaced_bytes, by_less)
    left_out = None if dot_files is None else NOTHING_LEFT_OUT
    if dot_files or all_symlinks or all_special_files:
        there = LeftOutCounts(dot_files, all_symlinks, all_special_files)
        left_out = there.without(LeftOutCounts(0, symlinks, special_files))
    folder = _folder(project_folder or place.rpartition("/")[0])
    return CopyRecord(
        id=number,
        copy=Copy(experiment_of(beamline, epn), project, source, folder, Path(place)),
        completed=completed,
        listed=listed,
        suspect=suspect,
        level=level,
        verified=verified,
        damaged=damaged,
        missing=missing,
        lost_links=lost,
        files=files,
        bytes=size,
        attempts=tried or 0,
        transfers=transfers or 0,
        last=last,
        audits=audits or 0,
        audited=audited,
        last_audit=last_audit or 0,
        claim=lease if isinstance(lease, Claim) else None,
        losses=losses,
        edited=edited,
        replaced=replaced,
        replaced_at=replaced_at,
        left_out=left_out,
    )
