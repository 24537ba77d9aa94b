"""What `asynchy receipt` does: a copy read again, and its receipt made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from asynchy.copying.fetch import holding_lease, lease_conflict
from asynchy.errors import ReceiptRefused
from asynchy.model.attempt import Claim
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.formatting import escaped, moment
from asynchy.receipts.bag import place_beside
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
    kept = _chosen(known_copies(context, [wish.epn]), wish)
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


def _chosen(kept: list[CopyRecord], wish: ReceiptRequest) -> CopyRecord:
    places = [str(item.copy.destination) for item in kept]
    if wish.destination is not None:
        kept = [item for item in kept if item.copy.destination == wish.destination.absolute()]
    if len(kept) == 1:
        return kept[0]
    raise ReceiptRefused(
        f"{wish.epn} has {len(places)} copies: {', '.join(map(escaped, places))}"
        if not wish.destination
        else f"no copy of {wish.epn} is in {wish.destination}",
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
