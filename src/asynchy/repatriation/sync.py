"""`asynchy sync`: fetches the catalogue's experiments to one destination."""

from __future__ import annotations

import logging
from pathlib import Path

from asynchy.config.file_access import access_hint
from asynchy.errors import DestinationMissing, ExitCode, NothingKnown
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.formatting import count, size
from asynchy.model.plan import Plan, Skipped, SkipReason
from asynchy.model.plan_overview import named
from asynchy.repatriation.capacity import select_what_fits
from asynchy.repatriation.catalogue_selection import SyncRequest, select_from_catalogue
from asynchy.repatriation.executor import RunReport
from asynchy.reporting.presence import with_presence
from asynchy.runtime.context import RunContext

log = logging.getLogger(__name__)


def plan_sync(context: RunContext, request: SyncRequest, at_a_time: int) -> Plan:
    """The due experiments that fit at the destination; nothing is written.

    Raises:
        DestinationMissing: the destination is not there.
        NothingKnown: the catalogue is empty, or knows none of the EPNs that were named.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    records, unknown = seen_records(context, request)
    context.board.phase("listing what is due")
    decided, complete = select_from_catalogue(records, request, context.clock.now())
    transfers, left_out = select_what_fits(context, decided, at_a_time, limit=request.limit)
    beyond = len(decided) - len(transfers) - len(left_out)
    log.info(
        "plan: %s to transfer (%s to write), %s there already, %d left out",
        count(len(transfers), "experiment"),
        size(sum(transfer.listing_diff.missing_bytes for transfer in transfers)),
        count(complete, "copy is complete", "copies are complete"),
        len(left_out) + len(unknown),
    )
    return Plan(tuple(transfers), (*left_out, *unknown), problems=(), beyond_limit=beyond)


def _check_destination(folder: Path) -> None:
    try:
        if folder.is_dir():
            return
    except PermissionError as error:
        raise DestinationMissing(f"{folder}: {error.strerror}", hint=access_hint(folder)) from None
    raise DestinationMissing(f"{folder} is not there", hint=f"mount it, or make it: mkdir {folder}")


def seen_records(
    context: RunContext, request: SyncRequest
) -> tuple[list[ExperimentRecord], list[Skipped]]:
    """The experiments that a walk has seen, and the EPNs that were named and are not known.

    Raises:
        DestinationMissing: the destination is not there.
        NothingKnown: the catalogue is empty, or knows none of the EPNs that were named.
        CatalogueError: the catalogue cannot be used.
    """
    _check_destination(request.destination)
    records = with_presence(context.catalogue.overview.records())
    records = [record for record in records if record.seen]
    if not records:
        raise NothingKnown(
            f"{context.catalogue.address} knows no experiments",
            hint="`asynchy walk` finds those at the facility",
        )
    unknown = sorted(request.epns - {record.epn.text for record in records})
    if unknown and len(unknown) == len(request.epns):
        raise NothingKnown(
            f"the catalogue does not know {named(unknown)}",
            hint="`asynchy walk` finds what is new at the facility",
        )
    hint = "`asynchy walk` finds what is new at the facility"
    skipped = [Skipped(Experiment("", Epn(epn)), SkipReason.UNKNOWN, hint) for epn in unknown]
    return records, skipped


def exit_code_of(report: RunReport) -> ExitCode:
    """OK if all that was due is complete now, INCOMPLETE if some is, NOTHING_FETCHED if none is."""
    if report.defects or report.problems:
        return report.exit_code
    code = exit_code_for(
        complete=sum(outcome.complete for outcome in report.outcomes),
        failed=sum(not outcome.complete for outcome in report.outcomes) + report.plan.beyond_limit,
        left_out=report.plan.left_out,
    )
    return ExitCode.INCOMPLETE if code is ExitCode.OK and report.attention else code


def exit_code_for(*, complete: int, failed: int, left_out: tuple[Skipped, ...]) -> ExitCode:
    """The exit code for all, some or none complete; only experiments that stay due count."""
    failed += sum(not item.reason.ends_well for item in left_out)
    if not failed:
        return ExitCode.OK
    return ExitCode.INCOMPLETE if complete else ExitCode.NOTHING_FETCHED
