"""What `asynchy sync` does: the catalogue's experiments, brought to one destination."""

from __future__ import annotations

import logging

from asynchy.domain.text import count, size
from asynchy.errors import DestinationMissing, ExitCode, NothingKnown
from asynchy.plan.backlog import Wish, backlog
from asynchy.plan.outcome import LeftOut, Plan
from asynchy.service.fitting import fitting
from asynchy.service.presence import with_presence
from asynchy.service.site import Site
from asynchy.service.work import Report

log = logging.getLogger(__name__)


def plan_sync(site: Site, wish: Wish, at_a_time: int) -> Plan:
    """What is due at the destination and fits there; nothing is written.

    Raises:
        DestinationMissing: the destination is not there.
        NothingKnown: the catalogue is empty, or does not know an EPN that was named.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    if not wish.destination.is_dir():
        raise DestinationMissing(
            f"{wish.destination} is not there",
            hint=f"mount it, or make it: mkdir {wish.destination}",
        )
    records = with_presence(site.catalogue.overview.records())
    records = [record for record in records if record.seen]
    if not records:
        raise NothingKnown(
            f"{site.catalogue.path} knows no experiments",
            hint="`as-walker` finds those at the facility",
        )
    unknown = wish.epns - {record.epn.text for record in records}
    if unknown:
        raise NothingKnown(
            f"the catalogue does not know {', '.join(sorted(unknown))}",
            hint="`as-walker` finds what is new at the facility",
        )
    site.board.phase("listing what is due")
    decided, complete = backlog(records, wish, site.clock.now())
    transfers, left_out = fitting(site, decided, at_a_time, limit=wish.limit)
    log.info(
        "plan: %s to transfer (%s to write), %s there already, %d left out",
        count(len(transfers), "experiment"),
        size(sum(transfer.survey.missing_bytes for transfer in transfers)),
        count(complete, "copy is complete", "copies are complete"),
        len(left_out),
    )
    return Plan(tuple(transfers), tuple(left_out), problems=())


def exit_code_of(report: Report) -> ExitCode:
    """OK where all that was due is complete now, DUE where some of it is, NONE where none is."""
    if report.defects or report.problems:
        return report.exit_code
    return exit_code_for(
        complete=sum(outcome.complete for outcome in report.outcomes),
        failed=sum(not outcome.complete for outcome in report.outcomes),
        left_out=report.plan.left_out,
    )


def exit_code_for(*, complete: int, failed: int, left_out: tuple[LeftOut, ...]) -> ExitCode:
    """All, some or none; what is left out and does not stay due counts as neither."""
    failed += sum(not item.reason.ends_well for item in left_out)
    if not failed:
        return ExitCode.OK
    return ExitCode.DUE if complete else ExitCode.NONE
