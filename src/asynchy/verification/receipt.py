"""`asynchy receipt`: reads a copy again, and makes its receipt."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from asynchy.copying.fetch import lease_conflict
from asynchy.copying.holding import holding_lease
from asynchy.errors import ReceiptRefused
from asynchy.model.attempt import Claim
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment import Copy
from asynchy.model.formatting import escaped, moment
from asynchy.receipts.bag import made_at, opened_receipt, place_beside
from asynchy.receipts.writer import KNOWN, Receipt, log_receipt, make_receipt
from asynchy.runtime.context import RunContext
from asynchy.verification import audit
from asynchy.verification.verify import known_copies


@dataclass(frozen=True)
class ReceiptRequest:
    """The options of a receipt."""

    epn: str
    folder: Path | None = None
    """Where it goes; None: near the copy."""
    destination: Path | None = None
    """The copy, if there are several."""
    read: bool = True
    """Read every file again before."""
    rate: int | None = None
    """Bytes a second at most."""


def receipt(context: RunContext, request: ReceiptRequest) -> tuple[CopyRecord, Receipt]:
    """Make a receipt.

    Raises:
        ReceiptRefused: it would not be true, or cannot be put there.
        NothingKnown: the catalogue does not know the EPN.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
    """
    record = _chosen(known_copies(context, [request.epn]), request.epn, request.destination)
    copy = record.copy
    _require_complete(record)
    if request.read:
        _read_again(context, record, request.rate)
    claim = context.catalogue.acquire_lease(copy)
    if isinstance(claim, Claim):
        raise ReceiptRefused(
            f"{copy.epn}: {lease_conflict(copy, claim).reason}", hint="wait for it"
        )
    folder = (request.folder or place_beside(copy.destination)).absolute()
    digests = (
        f"of each file as it was read on {moment(context.clock.now())}" if request.read else KNOWN
    )
    with holding_lease(context, copy, claim):
        now = context.catalogue.copy_record(copy)
        if now is None or now.attempts != record.attempts:
            raise ReceiptRefused(f"{copy.epn} was worked on meanwhile", hint="try again")
        copy_files = context.catalogue.copy_files(record.id)
        try:
            new_receipt = make_receipt(
                context, copy, copy_files, folder, digests, compare=not request.read
            )
        except OSError as error:
            path = escaped(error.filename or os.fspath(folder))
            raise ReceiptRefused(
                f"no receipt can be written to {folder}: {path}: {error.strerror}",
                hint="name another folder with --out; the one above it must be there",
            ) from None
    log_receipt(copy, new_receipt)
    return record, new_receipt


def current_receipt(
    context: RunContext, epn: str, beamline: str, destination: Path | None, scratch: Path
) -> tuple[Copy, Path]:
    """The folder of an up-to-date receipt.

    It is the one beside the copy, if nothing has changed since it was made. Otherwise one is made
    in the folder `scratch`, from the known digests, after size and time of every file were compared
    with the recorded ones. Nothing else is written.

    Raises:
        ReceiptRefused: it would not be true, or a process works on the copy.
        NothingKnown: the catalogue does not know the EPN.
        CatalogueError: the catalogue cannot be read.
        OSError: the folder cannot be written.
    """
    copy_records = [
        item for item in known_copies(context, [epn]) if item.copy.experiment.beamline == beamline
    ]
    record = _chosen(copy_records, epn, destination)
    copy = record.copy
    _require_complete(record)
    if record.claim is not None:
        raise ReceiptRefused(
            f"{epn}: {lease_conflict(copy, record.claim).reason}", hint="wait for it"
        )
    folder = place_beside(copy.destination)
    if _is_current(record, folder):
        return copy, folder
    files = context.catalogue.copy_files(record.id)
    make_receipt(context, copy, files, scratch, KNOWN, compare=True)
    now = context.catalogue.copy_record(copy)
    if now is None or now.attempts != record.attempts or now.claim is not None:
        raise ReceiptRefused(f"{epn} was worked on meanwhile", hint="try again")
    return copy, scratch


def _is_current(record: CopyRecord, folder: Path) -> bool:
    """Whether there is a receipt of a copy, and nothing about the copy was recorded since."""
    times = [
        record.completed,
        record.verified,
        record.audited,
        record.last.ended if record.last else None,
    ]
    latest = max(time.timestamp() for time in times if time is not None)
    try:
        with opened_receipt(folder, record.copy) as files:
            return bool(files) and not record.is_damaged and made_at(files) >= latest
    except OSError:
        return False


def _require_complete(record: CopyRecord) -> None:
    copy = record.copy
    if record.completed is None:
        raise ReceiptRefused(
            f"the copy of {copy.epn} in {copy.destination} is not complete",
            hint=f"`asynchy status {copy.epn}` says why",
        )
    if record.presence is not Presence.THERE:
        raise ReceiptRefused(
            f"its folder {copy.destination} {record.presence.value}",
            hint=f"mount it or put it back; `asynchy copies list {copy.epn}`",
        )


def _chosen(records: list[CopyRecord], epn: str, destination: Path | None) -> CopyRecord:
    destinations = [str(item.copy.destination) for item in records]
    if destination is not None:
        records = [item for item in records if item.copy.destination == destination.absolute()]
    if len(records) == 1:
        return records[0]
    if not destinations:
        raise ReceiptRefused(f"there is no copy of {epn}", hint=f"`asynchy status {epn}` says why")
    raise ReceiptRefused(
        f"{epn} has {len(destinations)} copies: {', '.join(map(escaped, destinations))}"
        if not destination
        else f"no copy of {epn} is in {destination}",
        hint=(
            "name one with --copy"
            if len(destinations) > 1
            else f"there is one in {destinations[0]}"
        ),
    )


def _read_again(context: RunContext, record: CopyRecord, rate: int | None) -> None:
    """Audit a copy: missing digests are computed; a copy that has changed is refused."""
    request = audit.AuditRequest(frozenset({record.copy.epn.text}), rate=rate)
    for result in audit.audit(context, [record], request):
        check, epn = result.check, record.copy.epn
        if check is None or result.problem is not None:
            raise ReceiptRefused(f"{epn} could not be read: {result.problem}")
        if check.different or check.missing:
            raise ReceiptRefused(
                f"{epn} is not as it was: {check.different} files changed, {check.missing} missing",
                hint=f"`asynchy verify {epn}` repairs it while the facility has the data",
            )
