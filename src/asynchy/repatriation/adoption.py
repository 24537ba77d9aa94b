"""Takes over copies of other programs in batches: compares them, and records the result.

list some experiments at the facility, compare size and time of every file at home
all there: record the copy as complete, at level `size`
something missing or different: record that it was compared, and what it lacks
go on with the next ones

A recorded batch stays recorded if the next one fails: a new run continues from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from asynchy.copying.fetch import Outcome, lease_or_outcome, record_copy_files
from asynchy.copying.holding import holding_lease
from asynchy.copying.outcome_rules import Judgement, judge
from asynchy.errors import ExitCode, Stopped
from asynchy.localfs import process_identity
from asynchy.model.attempt import Attempt, EngineResult, Verdict
from asynchy.model.experiment import ListingDiff
from asynchy.model.formatting import count
from asynchy.model.plan import DueCopy, FreeSpace, Plan, PlannedTransfer, Skipped, SkipReason
from asynchy.model.verification import Level
from asynchy.repatriation.capacity import ServerState, survey
from asynchy.repatriation.due_rules import Places, after_listing
from asynchy.repatriation.executor import Executor, RunReport
from asynchy.repatriation.home_comparison import difference_words, is_whole
from asynchy.repatriation.home_places import OddPlace
from asynchy.runtime.context import RunContext

log = logging.getLogger(__name__)

BATCH = 50
"""Experiments that are compared before what was found is recorded."""
_NO_LIMIT = FreeSpace(None, None)
_NOTHING_RAN = EngineResult(
    ok=True, exit_code=0, files=0, bytes=0, reason=None, hint=None, stderr=""
)


class AdoptionProgress:
    """How far it is; written by one thread, read by those that show it."""

    def __init__(self) -> None:
        self.experiments = 0
        """Experiments that have been compared."""
        self.total = 0
        """Experiments that are to be compared."""
        self.complete = 0

    def found(self) -> str:
        """The counts as text for people."""
        return f"{self.complete:,} complete"

    def line(self) -> str:
        """All of it in one line."""
        total = count(self.total, "experiment")
        return f"adopt: {self.experiments:,} of {total} compared, {self.found()}"


@dataclass(frozen=True)
class AdoptionResult:
    """The result of an adoption."""

    report: RunReport
    """Of all batches; without outcomes if nothing was to be written."""
    known: int = 0
    """Copies that were recorded as complete before; they were not compared again."""
    skipped: tuple[PlannedTransfer, ...] = ()
    """Not complete at home, and a person's entry in `ignore.yml` skips the EPN."""
    elsewhere: tuple[PlannedTransfer, ...] = ()
    """Not complete at the place of another project: nothing is fetched to there."""
    absent: tuple[str, ...] = ()
    """Copies that are called complete and are not at home: the EPN, and by whom."""
    unreadable_folders: tuple[Path, ...] = ()
    """Folders of projects that are missing, empty or cannot be read."""
    odd: tuple[OddPlace, ...] = ()
    """What is named after an EPN at home, and could not be looked at as its copy."""

    @property
    def complete(self) -> tuple[PlannedTransfer, ...]:
        """Copies complete at home: recorded as such or, if nothing is written, to be recorded."""
        failed = {item.copy for item, _ in self.unrecorded}
        whole = (item for item in self.report.plan.transfers if is_whole(item.listing_diff))
        return tuple(item for item in whole if item.copy not in failed)

    @property
    def incomplete(self) -> tuple[PlannedTransfer, ...]:
        """Copies of which the next run fetches the rest."""
        others = {item.copy for item in (*self.skipped, *self.elsewhere)}
        found = (item for item in self.report.plan.transfers if not is_whole(item.listing_diff))
        return tuple(item for item in found if item.copy not in others)

    @property
    def unrecorded(self) -> tuple[tuple[PlannedTransfer, str], ...]:
        """Copies that are complete at home but could not be recorded as such, with the reason."""
        transfers = self.report.plan.transfers
        whole = {item.copy: item for item in transfers if is_whole(item.listing_diff)}
        return tuple(
            (whole[outcome.copy], outcome.reason or outcome.verdict.value)
            for outcome in self.report.outcomes
            if not outcome.complete and outcome.copy in whole
        )

    @property
    def exit_code(self) -> ExitCode:
        """OK if all that was looked for is complete at home."""
        plan = self.report.plan
        whole = all(is_whole(item.listing_diff) for item in plan.transfers)
        passed_over = self.unreadable_folders or self.odd
        open_ends = plan.left_out or self.absent or passed_over or plan.unsure
        if self.report.exit_code is ExitCode.OK and (open_ends or not whole):
            return ExitCode.INCOMPLETE
        return self.report.exit_code


def comparing(context: RunContext) -> RunContext:
    """The context for an adoption: times are always compared, and nothing is moved.

    A file that differs only in its time gets the facility's time from a transfer; until then, it
    would count as changed at home.
    """
    options = replace(context.transfer_options, compare="time", verify="size")
    return replace(context, transfer_options=options, transfers_here=False)


def adopt(  # noqa: PLR0913, PLR0917 - what is compared, and how
    context: RunContext,
    to_compare: Sequence[DueCopy],
    at_a_time: int,
    progress: AdoptionProgress,
    plan: Plan,
    recorded: Callable[[RunReport], None],
) -> RunReport:
    """Compare the copies at home, a batch at a time, and record each batch if we write.

    `plan` has the experiments left out so far, and the problems. `recorded` is called with each
    batch once it was recorded.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    context.engine().require()
    progress.total = len(to_compare)
    server, places = ServerState(plan.unlisted), Places()
    reports: list[RunReport] = []
    for at in range(0, len(to_compare), BATCH):
        batch = to_compare[at : at + BATCH]
        if server.unreachable:
            skipped = [_unreachable(item) for item in batch]
            reports.append(RunReport(replace(plan, transfers=(), left_out=tuple(skipped)), ()))
            continue
        transfers, left_out = _compared(context, batch, at_a_time, server, places, progress)
        found = replace(plan, transfers=tuple(transfers), left_out=tuple(left_out))
        report = RunReport(found, ())
        if context.catalogue.writing:
            report = Executor(context, found, fetch=record_comparison).run(at_a_time)
            recorded(report)
        reports.append(report)
        if context.stop.requested:
            raise Stopped("stopped")
    return _all_of(reports, plan)


def _compared(  # noqa: PLR0913, PLR0917
    context: RunContext,
    batch: Sequence[DueCopy],
    at_a_time: int,
    server: ServerState,
    places: Places,
    progress: AdoptionProgress,
) -> tuple[list[PlannedTransfer], list[Skipped]]:
    transfers: list[PlannedTransfer] = []
    left_out: list[Skipped] = []
    with ThreadPoolExecutor(at_a_time) as pool:
        listings = [pool.submit(survey, context, item, server) for item in batch]
        for item, listing in zip(batch, listings, strict=True):
            decision = _decision(item, listing.result(), places)
            if isinstance(decision, Skipped):
                left_out.append(decision)
            else:
                transfers.append(decision)
                progress.complete += is_whole(decision.listing_diff)
            progress.experiments += 1
    return transfers, left_out


def _decision(
    item: DueCopy, listing_diff: ListingDiff | Skipped, places: Places
) -> PlannedTransfer | Skipped:
    if isinstance(listing_diff, Skipped):
        return listing_diff
    decision = after_listing(item, listing_diff, _NO_LIMIT)
    return decision if isinstance(decision, Skipped) else places.fill(decision)


def _unreachable(item: DueCopy) -> Skipped:
    return Skipped(item.experiment, SkipReason.UNREACHABLE, "", item.copy.project)


def _all_of(reports: Iterable[RunReport], plan: Plan) -> RunReport:
    """One report of all batches; experiments left out before come first."""
    all_reports = list(reports)
    combined = replace(
        plan,
        transfers=tuple(item for report in all_reports for item in report.plan.transfers),
        left_out=(
            *plan.left_out,
            *(item for report in all_reports for item in report.plan.left_out),
        ),
    )
    return RunReport(
        combined,
        tuple(item for report in all_reports for item in report.outcomes),
        problems=tuple(item for report in all_reports for item in report.problems),
        defects=tuple(item for report in all_reports for item in report.defects),
        attention=tuple(item for report in all_reports for item in report.attention),
    )


def record_comparison(
    context: RunContext, transfer: PlannedTransfer, unsure: str | None
) -> Outcome:
    """Record what was compared at home as it was found; `unsure` as `judge` takes it.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    copy, listed = transfer.copy, transfer.listing_diff
    claim = lease_or_outcome(context, copy)
    if isinstance(claim, Outcome):
        return claim
    with holding_lease(context, copy, claim):
        judgement = judge(_NOTHING_RAN, listed, listed, unsure=unsure)
        if not is_whole(listed):
            judgement = Judgement(Verdict.FAILED, difference_words(listed))
        copy_files = context.catalogue.copy_files(claim)
        if judgement.all_at_home:
            record_copy_files(copy_files, copy, listed, Level.SIZE)
        now = context.clock.now()
        context.catalogue.record(claim, _attempt(listed, judgement, now), listed)
    log.info(
        "%s: compared in %s: %s", copy.epn, copy.destination,
        judgement.reason or f"complete, {count(listed.files, 'file')}",
    )  # fmt: skip
    return Outcome(copy, judgement.verdict, judgement.reason, left_out=listed.left_out)


def _attempt(listed: ListingDiff, judgement: Judgement, now: datetime) -> Attempt:
    """The attempt record of a comparison, without an engine."""
    return Attempt(
        started=listed.listed_at,
        ended=now,
        host=process_identity.host(),
        pid=process_identity.own_process()[0],
        engine="",
        chosen=None,
        check=Level.SIZE.word,
        compare="time",
        verdict=judgement.verdict,
        exit_code=None,
        files=0,
        bytes=0,
        listed_at=listed.listed_at,
        listed_files=listed.files,
        listed_bytes=listed.bytes,
        reason=judgement.reason,
        stderr="",
    )
