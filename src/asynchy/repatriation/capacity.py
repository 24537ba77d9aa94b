"""Lists due experiments, and selects those that fit at their destination."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from asynchy.catalogue.facility_losses import losses
from asynchy.config.file_access import reachable
from asynchy.errors import (
    CatalogueError,
    DestinationTaken,
    ExperimentAbsent,
    ListingError,
    NotAFolder,
    ServerUnreachable,
)
from asynchy.localfs import process_identity
from asynchy.localfs.free_space import free_space_for
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.experiment import Copy, DataSize, ListingDiff
from asynchy.model.formatting import escaped
from asynchy.model.plan import DueCopy, DueReason, FreeSpace, PlannedTransfer, Skipped, SkipReason
from asynchy.model.shrinking import shrinking
from asynchy.repatriation.due_rules import Places, after_listing, when_absent
from asynchy.reporting.presence import missing_mount
from asynchy.runtime.context import RunContext
from asynchy.runtime.log_marks import IN_REPORT

log = logging.getLogger(__name__)

_POLL_INTERVAL = 0.5  # seconds


def select_what_fits(
    context: RunContext,
    decided: Iterable[DueCopy | Skipped],
    at_a_time: int,
    *,
    limit: int | None = None,
    logged: Collection[str] = (),
) -> tuple[list[PlannedTransfer], list[Skipped]]:
    """List due experiments, several at a time, and select those that fit together.

    `limit`: the most to select; those that cannot be listed do not count. `logged`: messages about
    an unreachable server that are in the log already. If the server cannot be reached, nothing more
    is asked of it, and that is logged once.

    Raises:
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    context.engine().require()
    transfers: list[PlannedTransfer] = []
    items = list(decided)
    left_out = [item for item in items if isinstance(item, Skipped)]
    due = [item for item in items if isinstance(item, DueCopy)]
    rooms: dict[int, FreeSpace] = {}
    places = Places()
    server = ServerState(logged)
    with ThreadPoolExecutor(at_a_time) as pool:
        coming = iter(due)
        listings: deque[tuple[DueCopy, Future[ListingDiff | Skipped]]] = deque()

        def submit(number: int | None) -> None:
            for item in itertools.islice(coming, number):
                listings.append((item, pool.submit(survey, context, item, server)))

        submit(limit)
        first_new = next((item for item in due if item.why is DueReason.NEW), None)
        if first_new is not None:
            context.prepare(
                first_new.expected, concurrent=min(at_a_time, len(due))
            )  # the listings' own
        while listings:
            item, listing = listings.popleft()
            while wait([listing], _POLL_INTERVAL).not_done:
                context.board.beat()
            decision = _decision(item, listing.result(), rooms, places)
            if isinstance(decision, Skipped):
                left_out.append(decision)
                submit(1)
            else:
                transfers.append(decision)
    return transfers, left_out


class ServerState:
    """Whether the facility's server could be reached, for all who ask at the same time."""

    def __init__(self, logged: Collection[str]) -> None:
        self._logged = set(logged)
        self._lock = threading.Lock()
        self.unreachable = False

    def note(self, error: ServerUnreachable) -> str:
        """Log once that it cannot be reached; returns the reason, empty if it was logged before."""
        with self._lock:
            self.unreachable = True
            reason = unreachable_words(error)
            if reason in self._logged:
                return ""
            self._logged.add(reason)
        log.error("%s", reason, extra=IN_REPORT)
        return reason


def unreachable_words(error: ServerUnreachable) -> str:
    """The message about a server that cannot be reached."""
    return f"SFTP service: {error}" + (f" ({error.hint})" if error.hint else "")


def _decision(
    item: DueCopy, listing_diff: ListingDiff | Skipped, rooms: dict[int, FreeSpace], places: Places
) -> PlannedTransfer | Skipped:
    """Whether what was listed fits beside all that was kept before; `rooms` is by device."""
    if isinstance(listing_diff, Skipped):
        return listing_diff
    try:
        device, room = free_space_for(item.copy)
    except OSError as error:
        skip_reason, reason = _at_home(error, item.copy)
        return Skipped(item.experiment, skip_reason, reason, item.copy.project)
    free = rooms.setdefault(device, room)
    decision = after_listing(item, listing_diff, free)
    if isinstance(decision, PlannedTransfer):
        decision = places.fill(decision)
    if isinstance(decision, PlannedTransfer):
        rooms[device] = free.less(listing_diff)
    return decision


def survey(context: RunContext, due_copy: DueCopy, server: ServerState) -> ListingDiff | Skipped:
    """List a due copy and compare it with home; or the reason why that is not possible.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
    """
    copy, skip_reason = due_copy.copy, SkipReason.UNLISTED
    if server.unreachable:
        return Skipped(copy.experiment, SkipReason.UNREACHABLE, "", copy.project)
    try:
        if not reachable(copy.project_folder.is_dir):
            folder = str(missing_mount(copy.project_folder))
            return Skipped(copy.experiment, SkipReason.NO_PROJECT_FOLDER, folder, copy.project)
        listing_diff = context.listing_diff(copy, expected=due_copy.expected)
        _note_losses(context, due_copy, listing_diff)
        return listing_diff
    except ExperimentAbsent:
        absent = when_absent(due_copy)
        if not absent.reason.stays_due:
            return absent
        skip_reason, reason = absent.reason, absent.detail
    except ServerUnreachable as error:
        reason = server.note(error)
        return Skipped(copy.experiment, SkipReason.UNREACHABLE, reason, copy.project)
    except NotAFolder as error:
        skip_reason, reason = SkipReason.NOT_A_FOLDER, str(error)
    except ListingError as error:
        reason = f"{error} ({error.hint})" if error.hint else str(error)
        log.error("%s: could not be listed: %s", copy.epn, reason, extra=IN_REPORT)
    except OSError as error:
        skip_reason, reason = _at_home(error, copy)
    _note_unlisted(context, due_copy, f"{skip_reason.text}: {reason}")
    return Skipped(copy.experiment, skip_reason, reason, copy.project)


def blocked(copy: Copy) -> Skipped | None:
    """The skipped copy if its place at home cannot be opened; None: it can, or is free."""
    try:
        free_space_for(copy)
    except OSError as error:
        return Skipped(copy.experiment, *_at_home(error, copy), copy.project)
    return None


def _at_home(error: OSError, copy: Copy) -> tuple[SkipReason, str]:
    """The reason for an error at the place of a copy."""
    path = escaped(os.fspath(error.filename or copy.destination))
    if isinstance(error, NotADirectoryError):
        return SkipReason.IN_THE_WAY, path
    return SkipReason.DESTINATION, f"{path}: {error.strerror}"


def _note_losses(context: RunContext, due_copy: DueCopy, listing_diff: ListingDiff) -> None:
    """Report what the facility no longer has of a copy that was complete, if we write.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    record = (
        context.catalogue.copy_record(due_copy.copy) if listing_diff.listing is not None else None
    )
    if record is None or not record.was_complete:
        return
    held_size = DataSize(record.bytes or 0, record.files or 0)
    listed = DataSize(listing_diff.bytes, listing_diff.files)
    lost_files = losses(context.catalogue.copy_files(record.id))
    if listing_diff.unlisted and not lost_files.files:
        return  # the counts are useless then, and the facts about the other files stay
    loss = shrinking(held_size, listed, lost_files)
    if loss is not None:
        log.warning("%s: %s", due_copy.copy.epn, loss.summary)
    context.catalogue.note_losses(record.id, loss.summary if loss else None)


def _note_unlisted(context: RunContext, due_copy: DueCopy, reason: str) -> None:
    """An experiment that cannot be listed leaves an attempt, if we write."""
    if not context.catalogue.writing:
        return
    now = context.clock.now()
    attempt = Attempt(
        started=now,
        ended=now,
        host=process_identity.host(),
        pid=process_identity.own_process()[0],
        engine="",
        chosen=None,
        check="",
        compare="",
        verdict=Verdict.FAILED,
        exit_code=None,
        files=0,
        bytes=0,
        listed_at=None,
        listed_files=None,
        listed_bytes=None,
        reason=reason,
        stderr="",
    )
    try:
        context.catalogue.record_unlisted(due_copy.copy, attempt)
    except DestinationTaken as error:
        log.error("%s: %s", due_copy.copy.epn, error)
    except CatalogueError as error:
        log.error("%s: the attempt could not be recorded: %s", due_copy.copy.epn, error)
