"""What `asynchy verify` does: copies that are complete, held against the facility once more."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import replace

from asynchy.catalogue.held import Holdings
from asynchy.domain.attempt import Claim, Verdict
from asynchy.domain.copy_record import CopyRecord
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.level import Level
from asynchy.domain.text import count
from asynchy.errors import NothingKnown
from asynchy.plan.checking import to_verify
from asynchy.plan.outcome import Plan, Transfer, Why
from asynchy.plan.verdict import Judgement
from asynchy.service.bring import Outcome, busy, hold, rounds, without_different, working_on
from asynchy.service.fitting import fitting
from asynchy.service.presence import with_presence
from asynchy.service.proof import judged
from asynchy.service.receipt import write_down
from asynchy.service.site import Site

log = logging.getLogger(__name__)


def known_records(site: Site, epns: Collection[str]) -> list[ExperimentRecord]:
    """The experiments with copies, those of the EPNs that are named, or all.

    Raises:
        NothingKnown: the catalogue knows no copy, or none of an EPN that was named.
        CatalogueError: the catalogue cannot be used.
    """
    site.catalogue.bury()
    records = [one for one in site.catalogue.overview.records(epns) if one.copies]
    unknown = set(epns) - {record.epn.text for record in records}
    if unknown or not records:
        of = f" of {', '.join(sorted(unknown))}" if unknown else ""
        raise NothingKnown(
            f"{site.catalogue.path} knows no copy{of}",
            hint="`mxsync` and `asynchy sync` make them; `asynchy status` lists those it knows",
        )
    return with_presence(records)


def known_copies(site: Site, epns: Collection[str]) -> list[CopyRecord]:
    """The copies of the EPNs that are named, or all. Raises as `known_records`."""
    return [copy for record in known_records(site, epns) for copy in record.copies]


def plan_verification(site: Site, epns: Collection[str], at_a_time: int) -> Plan:
    """Which copies are held against the facility, listed; the first part of the proof.

    Raises:
        NothingKnown: the catalogue knows no copy, or none of an EPN that was named.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    records = known_records(site, epns)
    site.board.phase("listing what is to be verified")
    decided = to_verify(records, epns)
    transfers, left_out = fitting(site, decided, at_a_time)
    log.info("verifying %s", count(len(transfers), "copy", "copies"))
    return Plan(tuple(transfers), tuple(left_out), problems=())


def verify(site: Site, transfer: Transfer, unsure: str | None) -> Outcome:
    """Prove a copy as `means.verify` says; what misses, or differs, is fetched.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    copy, listed, began = transfer.copy, transfer.survey, time.monotonic()
    claim = site.catalogue.claim(copy)
    if isinstance(claim, Claim):
        return busy(copy, claim)
    with working_on(site, copy, claim):
        # An engine also gives files the time that they have at the facility.
        lacking = listed.missing_files or listed.missing_folders or listed.other_times
        if lacking or transfer.why is Why.DIFFERENT:
            return rounds(site, transfer, claim, unsure)
        holdings = site.catalogue.holdings(claim)
        known = hold(holdings, copy, listed, Level.SIZE if site.means.looks else None)
        outcome = _compare(site, transfer, claim, holdings)
        if outcome.complete and known:
            site.catalogue.confirm(claim, listed, site.clock.now())
        return replace(outcome, seconds=time.monotonic() - began)


def _compare(site: Site, transfer: Transfer, copy_id: int, holdings: Holdings) -> Outcome:
    copy = transfer.copy
    judgement = Judgement(Verdict.COMPLETE)
    if site.means.verify == "source":
        judgement = judged(site, copy, holdings, judgement, again=False)
    if judgement.verdict is Verdict.DIFFERENT:
        survey = without_different(site, copy, holdings)
        if survey is not None:
            fetched = replace(transfer, why=Why.DIFFERENT, survey=survey)
            return rounds(site, fetched, copy_id, None, again=True)
    level = holdings.sum_up(site.clock.now())
    outcome = Outcome(copy, judgement.verdict, judgement.reason)
    if outcome.complete:
        log.info("%s: verified: %s", copy.epn, level or "not all of it is known")
        write_down(site, copy, holdings)
    else:
        log.warning("%s: not verified: %s", copy.epn, judgement.reason)
    return outcome
