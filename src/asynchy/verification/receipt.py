"""What `asynchy receipt` does: a copy read again, and its receipt made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from asynchy.copying.fetch import holding_lease, lease_conflict
from asynchy.errors import ReceiptRefused
from asynchy.model.attempt import Claim
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment import Copy
from asynchy.model.formatting import escaped, moment
from asynchy.receipts.bag import made_at, opened_receipt, place_beside
from asynchy.receipts.writer import KNOWN, Receipt, make_receipt, tell
from asynchy.runtime.context import RunContext
from asynchy.verification import audit
from asynchy.verification.verify import known_copies


@dataclass(frozen=True)
class ReceiptRequest:
    """What receipt was asked for."""

    epn: str
    folder: Path | None = None
    """Where it goes; None: near the copy."""
    destination: Path | None = None
    """Of which copy, where there are several."""
    read: bool = True
    """Read every file again before."""
    rate: int | None = None
    """Bytes a second at most."""


def receipt(context: RunContext, wish: ReceiptRequest) -> tuple[CopyRecord, Receipt]:
    """Make a receipt.

    Raises:
        ReceiptRefused: it would say what is not so, or cannot be put there.
        NothingKnown: the catalogue does not know the EPN.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
    """
    kept = _chosen(known_copies(context, [wish.epn]), wish.epn, wish.destination)
    copy = kept.copy
    _require_complete(kept)
    if wish.read:
        _read_again(context, kept, wish.rate)
    claim = context.catalogue.acquire_lease(copy)
    if isinstance(claim, Claim):
        raise ReceiptRefused(
            f"{copy.epn}: {lease_conflict(copy, claim).reason}", hint="wait for it"
        )
    folder = (wish.folder or place_beside(copy.destination)).absolute()
    digests = (
        f"of each file as it was read on {moment(context.clock.now())}" if wish.read else KNOWN
    )
    with holding_lease(context, copy, claim):
        now = context.catalogue.copy_record(copy)
        if now is None or now.attempts != kept.attempts:
            raise ReceiptRefused(f"{copy.epn} was worked on meanwhile", hint="try again")
        copy_files = context.catalogue.copy_files(kept.id)
        try:
            made = make_receipt(context, copy, copy_files, folder, digests, look=not wish.read)
        except OSError as error:
            where = escaped(error.filename or os.fspath(folder))
            raise ReceiptRefused(
                f"no receipt can be written to {folder}: {where}: {error.strerror}",
                hint="name another folder with --out; the one above it must be there",
            ) from None
    tell(copy, made)
    return kept, made


def current_receipt(
    context: RunContext, epn: str, beamline: str, destination: Path | None, scratch: Path
) -> tuple[Copy, Path]:
    """The folder of a receipt that is true now.

    It is the one beside the copy, if nothing has been found out since it was made; or else one is
    made in the folder `scratch`, of the known digests, once size and time of every file were
    compared with what is known of it. Nothing else is written.

    Raises:
        ReceiptRefused: it would say what is not so, or the copy is worked on.
        NothingKnown: the catalogue does not know the EPN.
        CatalogueError: the catalogue cannot be read.
        OSError: the folder cannot be written.
    """
    known = [
        one for one in known_copies(context, [epn]) if one.copy.experiment.beamline == beamline
    ]
    kept = _chosen(known, epn, destination)
    copy = kept.copy
    _require_complete(kept)
    if kept.claim is not None:
        raise ReceiptRefused(
            f"{epn}: {lease_conflict(copy, kept.claim).reason}", hint="wait for it"
        )
    beside = place_beside(copy.destination)
    if _is_current(kept, beside):
        return copy, beside
    files = context.catalogue.copy_files(kept.id)
    make_receipt(context, copy, files, scratch, KNOWN, look=True)
    now = context.catalogue.copy_record(copy)
    if now is None or now.attempts != kept.attempts or now.claim is not None:
        raise ReceiptRefused(f"{epn} was worked on meanwhile", hint="try again")
    return copy, scratch


def _is_current(kept: CopyRecord, folder: Path) -> bool:
    """Whether a receipt of a copy is there, and nothing was found out of the copy since."""
    times = [kept.completed, kept.verified, kept.audited, kept.last.ended if kept.last else None]
    latest = max(time.timestamp() for time in times if time is not None)
    try:
        with opened_receipt(folder, kept.copy) as files:
            return bool(files) and not kept.is_damaged and made_at(files) >= latest
    except OSError:
        return False


def _require_complete(kept: CopyRecord) -> None:
    copy = kept.copy
    if kept.completed is None:
        raise ReceiptRefused(
            f"the copy of {copy.epn} in {copy.destination} is not complete",
            hint=f"`asynchy status {copy.epn}` says why",
        )
    if kept.presence is not Presence.THERE:
        raise ReceiptRefused(
            f"its folder {copy.destination} {kept.presence.value}",
            hint=f"mount it or put it back; `asynchy copies list {copy.epn}`",
        )


def _chosen(kept: list[CopyRecord], epn: str, destination: Path | None) -> CopyRecord:
    places = [str(item.copy.destination) for item in kept]
    if destination is not None:
        kept = [item for item in kept if item.copy.destination == destination.absolute()]
    if len(kept) == 1:
        return kept[0]
    if not places:
        raise ReceiptRefused(f"there is no copy of {epn}", hint=f"`asynchy status {epn}` says why")
    raise ReceiptRefused(
        f"{epn} has {len(places)} copies: {', '.join(map(escaped, places))}"
        if not destination
        else f"no copy of {epn} is in {destination}",
        hint="say with --copy which one" if len(places) > 1 else f"there is one in {places[0]}",
    )


def _read_again(context: RunContext, kept: CopyRecord, rate: int | None) -> None:
    """Audit a copy: digests that miss are made; what is not as it was has no receipt."""
    wish = audit.AuditRequest(frozenset({kept.copy.epn.text}), rate=rate)
    for result in audit.audit(context, [kept], wish):
        check, epn = result.check, kept.copy.epn
        if check is None or result.problem is not None:
            raise ReceiptRefused(f"{epn} could not be read: {result.problem}")
        if check.different or check.missing:
            raise ReceiptRefused(
                f"{epn} is not as it was: {check.different} files changed, {check.missing} missing",
                hint=f"`asynchy verify {epn}` repairs it while the facility has the data",
            )
