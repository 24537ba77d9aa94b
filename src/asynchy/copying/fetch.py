"""Bring one experiment home: claim, transfer, list again, judge, record."""

from __future__ import annotations

import itertools
import logging
import stat
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.copying.compare_content import quarantine_mismatches, verify_content
from asynchy.copying.held_links import record_links
from asynchy.copying.holding import holding_lease
from asynchy.copying.outcome_rules import Judgement, check_made, judge, level_of
from asynchy.copying.replaced_files import report_replaced
from asynchy.engines.base import Engine, Job
from asynchy.errors import AsynchyError, DestinationTaken, LeaseLost, ListingError, Stopped
from asynchy.localfs import process_identity
from asynchy.localfs.copy_tree import CopyTree, error_reason
from asynchy.localfs.kept_files import REPLACED, UNREPORTED, new_folder
from asynchy.localfs.safe_tree import SafeTree, is_about_one_file, place_of
from asynchy.model.attempt import Attempt, Claim, EngineResult, Verdict
from asynchy.model.experiment import NOTHING_LEFT_OUT, Copy, Entry, LeftOutCounts, ListingDiff
from asynchy.model.file_times import is_time
from asynchy.model.formatting import count, duration, size
from asynchy.model.plan import PlannedTransfer
from asynchy.model.verification import CopyFile, Level
from asynchy.receipts.writer import finalize_copy
from asynchy.runtime.context import RunContext
from asynchy.runtime.log_marks import IN_REPORT

log = logging.getLogger(__name__)

MAX_ROUNDS = 3
"""How often an experiment that changes meanwhile is fetched in one cycle."""
_RECORD_BATCH = 5000
"""Files that are recorded in one transaction."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a planned transfer."""

    copy: Copy
    verdict: Verdict
    reason: str | None = None
    hint: str | None = None
    files: int = 0
    """Files moved, as far as is known."""
    bytes: int = 0
    """Bytes moved, as far as is known."""
    seconds: float = 0.0
    left_out: LeftOutCounts = NOTHING_LEFT_OUT
    """The entries that are not brought home because of their kind."""

    @property
    def complete(self) -> bool:
        """Whether the copy is complete now."""
        return self.verdict is Verdict.COMPLETE


def fetch_copy(context: RunContext, transfer: PlannedTransfer, unsure: str | None) -> Outcome:
    """Make a copy complete; the outcome has the reason if it is not. `unsure`: as for `judge`.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    claim = lease_or_outcome(context, transfer.copy)
    if isinstance(claim, Outcome):
        return claim
    with holding_lease(context, transfer.copy, claim):
        try:
            return fetch_until_complete(context, transfer, claim, unsure)
        except LeaseLost as error:
            log.error("%s: %s", transfer.copy.epn, error.message)
            return Outcome(transfer.copy, Verdict.FAILED, error.message, error.hint)


def lease_or_outcome(context: RunContext, copy: Copy) -> int | Outcome:
    """The number of the copy, once its lease is acquired; or the outcome, if it cannot be.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    try:
        claim = context.catalogue.acquire_lease(copy)
    except DestinationTaken as error:
        return Outcome(copy, Verdict.FAILED, error.message, error.hint)
    return lease_conflict(copy, claim) if isinstance(claim, Claim) else claim


def lease_conflict(copy: Copy, claim: Claim) -> Outcome:
    """The outcome for a copy that another process works on."""
    reason = f"process {claim.pid} on {claim.host} works on it"
    return Outcome(copy, Verdict.FAILED, reason)


def fetch_until_complete(
    context: RunContext,
    transfer: PlannedTransfer,
    copy_id: int,
    unsure: str | None,
    *,
    again: bool = False,
) -> Outcome:
    """Fetch what is missing until the copy is complete, or it is known why it is not.

    The copy is claimed. `again`: files that differ from the facility's were put aside before.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    copy, before = transfer.copy, transfer.listing_diff
    engine = context.engine()
    _log_beginning(copy, before, engine)
    copy_files = context.catalogue.copy_files(copy_id)
    known_files = replace(copy_files, listing=before.listing).known()
    origin_known = known_files == before.files - before.missing_files
    if not (origin_known or again):  # else `quarantine_mismatches` did
        report_replaced(context, copy, copy_id)  # before it is recorded what took the places
        _record_arrived(context, copy, copy_files, Level.SIZE)
    began = time.monotonic()
    files = moved = rounds = tries = 0
    while True:
        started = context.clock.now()
        context.board.begin(copy, before)
        result = _run_engine(context, engine, copy, copy_id, before)
        after = _list_again(context, copy, result)
        if after is None and context.stop.requested:
            result = replace(result, stopped=True)
        judgement = judge(result, before, after, unsure=unsure)
        level = level_of(
            engine.check, compared=context.transfer_options.looks, origin_known=origin_known
        )
        _record_links(context, copy, copy_id, after, whole=judgement.all_at_home)
        if judgement.all_at_home and after is not None:
            record_copy_files(copy_files, copy, after, level)
            listed = replace(copy_files, listing=after.listing)
            judgement = verify_content(context, copy, listed, judgement, again=again)
        else:
            _record_arrived(context, copy, copy_files, level)
        attempt = _attempt(context, engine, started, result, after, judgement)
        context.catalogue.record(copy_id, attempt, after)
        files, moved = files + (result.files or 0), moved + (result.bytes or 0)
        rounds += judgement.verdict is Verdict.CHANGED
        if judgement.verdict is Verdict.CHANGED and after is not None and rounds < MAX_ROUNDS:
            log.info("%s: %s; fetching what changed", copy.epn, judgement.reason)
            before = after
        elif judgement.verdict is Verdict.DIFFERENT and not again:
            again = True
            if (remaining := without_different(context, copy, copy_files)) is None:
                break
            before = remaining
        elif result.lost and context.try_again(tries, f"{copy.epn}: {judgement.reason}"):
            tries += 1
        else:
            break
    outcome = Outcome(
        copy=copy,
        verdict=judgement.verdict,
        reason=judgement.reason,
        hint=None if result.hint and result.hint in (judgement.reason or "") else result.hint,
        files=files,
        bytes=moved,
        seconds=time.monotonic() - began,
        left_out=(after or before).left_out,
    )
    _log_outcome(outcome)
    if outcome.complete:
        finalize_copy(context, copy, copy_files)
    return outcome


def _record_links(
    context: RunContext, copy: Copy, copy_id: int, after: ListingDiff | None, *, whole: bool
) -> None:
    """Store which links are at home; `whole`: the transfer brought all that there is."""
    if after is not None and not after.unlisted:
        fetched = whole and context.transfer_options.brings_links
        held_others = context.catalogue.held_others(copy_id)
        record_links(held_others, copy, after.listing, context.transfer_options, fetched=fetched)


def _run_engine(
    context: RunContext, engine: Engine, copy: Copy, copy_id: int, listed: ListingDiff
) -> EngineResult:
    try:
        replaced = new_folder(copy, REPLACED, context.time_to_keep_from(), UNREPORTED)
        contents = context.catalogue.contents(copy, copy_id, listed.listing)
        lease = context.catalogue.leases.of(copy_id)
        restore = context.transfer_options.restore
        job = Job(copy, listed, contents, replaced, restore=restore, lease=lease)
        stop = context.stop.child()
        if lease is not None:
            lease.when_lost(stop.request)
        try:
            result = engine.transfer(
                job, stop, lambda size, files: context.board.arrived(copy, size, files)
            )
        finally:
            report_replaced(context, copy, copy_id)
        if result.ok:  # resumed bytes were not counted as arriving
            context.board.arrived(copy, listed.missing_bytes, listed.missing_files)
        if lease is not None:
            context.catalogue.leases.beat(copy_id)
        return result
    except LeaseLost:
        raise
    except AsynchyError as error:
        return _not_run(str(error), error.hint)
    except OSError as error:
        reason, hint = error_reason(OSError(error.errno, error.strerror))
        return _not_run(f"{place_of(error, copy)}: {reason}", hint)


def _record_arrived(
    context: RunContext, copy: Copy, copy_files: CopyFiles, level: Level | None
) -> None:
    """Record which files are at home as listed, while the copy is not complete.

    From then on, changes by people are noticed. The files are made durable first: after a power
    failure, an older version that is back would look like a change by a person.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    if not context.transfer_options.looks:
        return
    contents = context.catalogue.contents(copy, copy_files.copy_id)
    try:
        with CopyTree(copy) as copy_tree:
            copy_tree.flush()
            # No file is that large, so they come in order of path.
            arrived = (
                entry for entry in contents.files(sys.maxsize) if _has_arrived(copy_tree, entry)
            )
            while not context.stop.requested and (
                batch := list(itertools.islice(arrived, _RECORD_BATCH))
            ):
                copy_files.arrive(batch, level)
    except FileNotFoundError:  # nothing has arrived
        return
    except OSError as error:
        reason = error_reason(error)[0]
        log.warning("%s: the files that have arrived are not recorded: %s", copy.epn, reason)


def _has_arrived(copy_tree: CopyTree, entry: Entry) -> bool:
    """Whether a file is at home as listed; one that cannot be read is not recorded."""
    try:
        return entry.is_same(copy_tree.find(entry.path))
    except OSError as error:
        if not is_about_one_file(error):
            raise
        return False


def record_copy_files(
    copy_files: CopyFiles, copy: Copy, listing_diff: ListingDiff, level: Level | None
) -> bool:
    """Store that the copy holds the listed files; False if the catalogue has changed meanwhile."""
    assert listing_diff.listing is not None  # we write
    if copy_files.take(listing_diff.listing, (listing_diff.files, listing_diff.bytes), level):
        if listing_diff.other_times:
            _record_times(copy_files, copy)
        return True
    log.warning(
        "%s: the file list is not recorded: a walk changed the catalogue meanwhile", copy.epn
    )
    return False


def _record_times(copy_files: CopyFiles, copy: Copy) -> None:
    """Store the times at home of files that cannot have their own: no person changed them."""
    try:
        with SafeTree.of(copy) as tree:
            times = ((file, _time_at_home(file, tree)) for file in copy_files.everything())
            changed_times = ((file, at_home) for file, at_home in times if at_home is not None)
            while batch := list(itertools.islice(changed_times, _RECORD_BATCH)):
                copy_files.note_times(batch)
    except OSError as error:
        log.warning("%s: times at home are not recorded: %s", copy.epn, error_reason(error)[0])


def _time_at_home(file: CopyFile, tree: SafeTree) -> int | None:
    """The time that a file got at home instead of its own; None: it has its own, or was changed."""
    if file.damage is not None or file.at_home is not None:
        return None
    file_stat = tree.find(file.path)
    if file_stat is None or not stat.S_ISREG(file_stat.st_mode) or file_stat.st_size != file.size:
        return None
    return None if is_time(file_stat, file.modified) else file_stat.st_mtime_ns // 1_000_000_000


def _not_run(reason: str, hint: str | None) -> EngineResult:
    return EngineResult(
        ok=False, exit_code=-1, files=None, bytes=None, reason=reason, hint=hint, stderr=""
    )


def _list_again(context: RunContext, copy: Copy, result: EngineResult) -> ListingDiff | None:
    if not (result.ok or result.vanished):
        return None
    try:
        return context.listing_diff(copy, compare=context.transfer_options.verify != "none")
    except (ListingError, Stopped, OSError) as error:
        log.warning("%s: could not be listed again: %s", copy.epn, error)
        return None


def without_different(context: RunContext, copy: Copy, copy_files: CopyFiles) -> ListingDiff | None:
    """The difference to fetch after different files were moved aside; None: they could not be."""
    try:
        return quarantine_mismatches(context, copy, copy_files)
    except (ListingError, Stopped, OSError) as error:
        log.warning("%s: different files are not fetched again now: %s", copy.epn, error)
        return None


def _attempt(  # noqa: PLR0913, PLR0917 - the parts of an attempt
    context: RunContext,
    engine: Engine,
    started: datetime,
    result: EngineResult,
    after: ListingDiff | None,
    judgement: Judgement,
) -> Attempt:
    return Attempt(
        started=started,
        ended=context.clock.now(),
        host=process_identity.host(),
        pid=process_identity.own_process()[0],
        engine=engine.name,
        chosen=engine.chosen,
        check=check_made(engine.check, context.transfer_options.verify, judgement),
        compare=engine.compare,
        verdict=judgement.verdict,
        exit_code=result.exit_code,
        files=result.files,
        bytes=result.bytes,
        listed_at=after.listed_at if after else None,
        listed_files=after.files if after else None,
        listed_bytes=after.bytes if after else None,
        reason=judgement.reason,
        stderr=result.stderr,
    )


def _log_beginning(copy: Copy, listed: ListingDiff, engine: Engine) -> None:
    log.info(
        "%s: begins: %s, %s, of which %s to fetch (%s), to %s",
        copy.epn, count(listed.files, "file"), size(listed.bytes),
        count(listed.missing_files, "file"), size(listed.missing_bytes), copy.destination,
    )  # fmt: skip
    log.info(
        "%s: by the %s engine (%s), check: %s",
        copy.epn, engine.name, engine.chosen, engine.check,
    )  # fmt: skip
    if listed.edited_files:
        log.info(
            "%s: %s changed at home; left alone", copy.epn,
            count(listed.edited_files, "file was", "files were"),
        )  # fmt: skip


def _log_outcome(outcome: Outcome) -> None:
    moved = f"{count(outcome.files, 'file')}, {size(outcome.bytes)} in {duration(outcome.seconds)}"
    if outcome.complete:
        left_out = f"; left out: {outcome.left_out}" if str(outcome.left_out) else ""
        log.info("%s: complete; moved %s%s", outcome.copy.epn, moved, left_out)
    else:
        hint = f" ({outcome.hint})" if outcome.hint else ""
        log.warning("%s: stays due: %s%s", outcome.copy.epn, outcome.reason, hint, extra=IN_REPORT)
