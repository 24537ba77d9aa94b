"""`asynchy verify`: compares complete copies with the facility once more."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import replace

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.copying.compare_content import verify_content
from asynchy.copying.fetch import (
    Outcome,
    fetch_until_complete,
    lease_conflict,
    record_copy_files,
    without_different,
)
from asynchy.copying.held_links import record_links
from asynchy.copying.holding import holding_lease
from asynchy.copying.outcome_rules import Judgement, unlisted_words
from asynchy.errors import NothingKnown
from asynchy.model.attempt import Claim, Verdict
from asynchy.model.copy_record import CopyRecord
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.formatting import count
from asynchy.model.plan import DueReason, Plan, PlannedTransfer
from asynchy.model.verification import Level
from asynchy.receipts.writer import finalize_copy
from asynchy.repatriation.capacity import select_what_fits
from asynchy.reporting.presence import with_presence
from asynchy.runtime.context import RunContext
from asynchy.verification.verify_selection import to_verify

log = logging.getLogger(__name__)


def known_records(context: RunContext, epns: Collection[str]) -> list[ExperimentRecord]:
    """The experiments with copies, those of the EPNs that are named, or all.

    Raises:
        NothingKnown: the catalogue knows no copy, or none of an EPN that was named.
        CatalogueError: the catalogue cannot be used.
    """
    context.catalogue.record_interrupted()
    records = [record for record in context.catalogue.overview.records(epns) if record.copies]
    unknown = set(epns) - {record.epn.text for record in records}
    if unknown or not records:
        of_epns = f" of {', '.join(sorted(unknown))}" if unknown else ""
        raise NothingKnown(
            f"{context.catalogue.address} knows no copy{of_epns}",
            hint="`mxsync` and `asynchy sync` make them; `asynchy status` lists those it knows",
        )
    return with_presence(records, context.catalogue.overview.places_below)


def known_copies(context: RunContext, epns: Collection[str]) -> list[CopyRecord]:
    """The copies of the EPNs that are named, or all. Raises as `known_records`."""
    return [copy for record in known_records(context, epns) for copy in record.copies]


def plan_verification(context: RunContext, epns: Collection[str], at_a_time: int) -> Plan:
    """Which copies are compared with the facility, listed; the first part of the proof.

    Raises:
        NothingKnown: the catalogue knows no copy, or none of an EPN that was named.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    records = known_records(context, epns)
    context.board.phase("listing what is to be verified")
    decided = to_verify(records, epns)
    transfers, left_out = select_what_fits(context, decided, at_a_time)
    log.info("verifying %s", count(len(transfers), "copy", "copies"))
    return Plan(tuple(transfers), tuple(left_out), problems=())


def verify(context: RunContext, transfer: PlannedTransfer, unsure: str | None) -> Outcome:
    """Prove a copy at the level of `transfer_options.verify`; fetch missing or different files.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    copy, listed, began = transfer.copy, transfer.listing_diff, time.monotonic()
    claim = context.catalogue.acquire_lease(copy)
    if isinstance(claim, Claim):
        return lease_conflict(copy, claim)
    with holding_lease(context, copy, claim):
        # An engine also gives files the time, and perhaps the mode, that they are to have.
        lacking = listed.missing_files or listed.missing_folders or listed.other_times
        lacking = lacking or context.transfer_options.may_bring(listed.left_out)
        held_others = context.catalogue.held_others(claim)
        options = context.transfer_options
        lacking = lacking or record_links(held_others, copy, listed.listing, options, fetched=False)
        if lacking or transfer.why is DueReason.DIFFERENT or context.transfer_options.restore:
            return fetch_until_complete(context, transfer, claim, unsure)
        copy_files = context.catalogue.copy_files(claim)
        recorded = record_copy_files(
            copy_files, copy, listed, Level.SIZE if context.transfer_options.looks else None
        )
        outcome = _compare(context, transfer, claim, copy_files)
        if outcome.complete and recorded:
            context.catalogue.confirm(claim, listed, context.clock.now())
        return replace(outcome, seconds=time.monotonic() - began)


def _compare(
    context: RunContext, transfer: PlannedTransfer, copy_id: int, copy_files: CopyFiles
) -> Outcome:
    copy = transfer.copy
    judgement = Judgement(Verdict.COMPLETE)
    if unlisted := transfer.listing_diff.unlisted:
        judgement = Judgement(Verdict.FAILED, unlisted_words(unlisted))
    if context.transfer_options.verify == "source":
        listed = replace(copy_files, listing=transfer.listing_diff.listing)
        judgement = verify_content(context, copy, listed, judgement, again=False)
    if judgement.verdict is Verdict.DIFFERENT:
        listing_diff = without_different(context, copy, copy_files)
        if listing_diff is not None:
            fetched = replace(transfer, why=DueReason.DIFFERENT, listing_diff=listing_diff)
            return fetch_until_complete(context, fetched, copy_id, None, again=True)
    level = copy_files.sum_up(context.clock.now())
    left_out = transfer.listing_diff.left_out
    outcome = Outcome(copy, judgement.verdict, judgement.reason, left_out=left_out)
    if outcome.complete:
        log.info("%s: verified: %s", copy.epn, level or "not all of it is known")
        finalize_copy(context, copy, copy_files)
    else:
        log.warning("%s: not verified: %s", copy.epn, judgement.reason)
    return outcome
