"""What is due, listed, and as much of it as fits at its destination."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from asynchy.catalogue import process
from asynchy.catalogue.losses import losses
from asynchy.domain.attempt import Attempt, Verdict
from asynchy.domain.experiment import Amount, Copy, Survey
from asynchy.domain.text import shown
from asynchy.errors import (
    CatalogueError,
    DestinationTaken,
    ExperimentAbsent,
    ListingError,
    NotAFolder,
    ServerUnreachable,
)
from asynchy.plan.decide import Places, Room, after_listing, when_absent
from asynchy.plan.outcome import Due, Left, LeftOut, Transfer, Why
from asynchy.plan.shrinking import shrinking
from asynchy.service.site import Site
from asynchy.verify.destination import room_for

log = logging.getLogger(__name__)

_TICK = 0.5


def fitting(
    site: Site,
    decided: Iterable[Due | LeftOut],
    at_a_time: int,
    *,
    limit: int | None = None,
    told: Collection[str] = (),
) -> tuple[list[Transfer], list[LeftOut]]:
    """List what is due, several at a time, and keep what fits beside all that was kept before.

    With a `limit`, that many at most are kept; what cannot be listed does not count. `told`: what
    is in the log already of a server that cannot be reached. If it cannot be, nothing more is
    asked of it, and that is said once.

    Raises:
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    site.engine().require()
    transfers: list[Transfer] = []
    given = list(decided)
    left_out = [item for item in given if isinstance(item, LeftOut)]
    due = [item for item in given if isinstance(item, Due)]
    rooms: dict[int, Room] = {}
    places = Places()
    server = _Server(told)
    with ThreadPoolExecutor(at_a_time) as pool:
        coming = iter(due)
        listings: deque[tuple[Due, Future[Survey | LeftOut]]] = deque()

        def submit(number: int | None) -> None:
            for item in itertools.islice(coming, number):
                listings.append((item, pool.submit(_survey, site, item, server)))

        submit(limit)
        new = next((item for item in due if item.why is Why.NEW), None)
        if new is not None:
            site.prepare(new.expected, beside=min(at_a_time, len(due)))  # the listings' own
        while listings:
            item, listing = listings.popleft()
            while wait([listing], _TICK).not_done:
                site.board.beat()
            decision = _decision(item, listing.result(), rooms, places)
            if isinstance(decision, LeftOut):
                left_out.append(decision)
                submit(1)
            else:
                transfers.append(decision)
    return transfers, left_out


class _Server:
    """Whether the facility's server could be reached, for all who ask at the same time."""

    def __init__(self, told: Collection[str]) -> None:
        self._told = set(told)
        self._lock = threading.Lock()
        self.unreachable = False

    def note(self, error: ServerUnreachable) -> str:
        """It could not be; that is logged once. Why, in words; empty if that was said."""
        with self._lock:
            self.unreachable = True
            words = unreachable_words(error)
            if words in self._told:
                return ""
            self._told.add(words)
        log.error("%s", words)
        return words


def unreachable_words(error: ServerUnreachable) -> str:
    """What is said of a server that cannot be reached."""
    return f"SFTP service: {error}" + (f" ({error.hint})" if error.hint else "")


def _decision(
    item: Due, survey: Survey | LeftOut, rooms: dict[int, Room], places: Places
) -> Transfer | LeftOut:
    """Whether what was listed fits beside all that was kept before; `rooms` is by device."""
    if isinstance(survey, LeftOut):
        return survey
    try:
        device, room = room_for(item.copy)
    except OSError as error:
        return LeftOut(
            item.experiment, Left.DESTINATION, _words_of(error, item.copy), item.copy.project
        )
    free = rooms.setdefault(device, room)
    decision = after_listing(item, survey, free)
    if isinstance(decision, Transfer):
        decision = places.fill(decision)
    if isinstance(decision, Transfer):
        rooms[device] = free.less(survey)
    return decision


def _survey(site: Site, due: Due, server: _Server) -> Survey | LeftOut:
    left = Left.UNLISTED
    if server.unreachable:
        return LeftOut(due.experiment, Left.UNREACHABLE, "", due.copy.project)
    try:
        if not due.copy.project_folder.is_dir():
            folder = str(due.copy.project_folder)
            return LeftOut(due.experiment, Left.NO_PROJECT_FOLDER, folder, due.copy.project)
        survey = site.survey(due.copy, expected=due.expected)
        _note_losses(site, due, survey)
        return survey
    except ExperimentAbsent:
        absent = when_absent(due)
        if not absent.reason.stays_due:
            return absent
        left, reason = absent.reason, absent.detail
    except ServerUnreachable as error:
        why = server.note(error)
        return LeftOut(due.experiment, Left.UNREACHABLE, why, due.copy.project)
    except NotAFolder as error:
        left, reason = Left.BROKEN_LINK, str(error)
    except ListingError as error:
        reason = f"{error} ({error.hint})" if error.hint else str(error)
        log.error("%s: could not be listed: %s", due.copy.epn, reason)
    except OSError as error:
        left = Left.DESTINATION
        reason = _words_of(error, due.copy)
    _note_unlisted(site, due, f"{left.text}: {reason}")
    return LeftOut(due.experiment, left, reason, due.copy.project)


def _words_of(error: OSError, copy: Copy) -> str:
    return f"{shown(os.fspath(error.filename or copy.destination))}: {error.strerror}"


def _note_losses(site: Site, due: Due, survey: Survey) -> None:
    """Report what the facility no longer has of a copy that was complete, if we write.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    record = site.catalogue.copy_record(due.copy) if survey.listing is not None else None
    if record is None or not record.was_complete:
        return
    held = Amount(record.bytes or 0, record.files or 0)
    listed = Amount(survey.bytes, survey.files)
    found = shrinking(held, listed, losses(site.catalogue.holdings(record.id)))
    if found is not None:
        log.warning("%s: %s", due.copy.epn, found.summary)
    site.catalogue.note_losses(record.id, found.summary if found else None)


def _note_unlisted(site: Site, due: Due, reason: str) -> None:
    """An experiment that cannot be listed leaves an attempt, if we write."""
    if not site.catalogue.writing:
        return
    now = site.clock.now()
    attempt = Attempt(
        started=now,
        ended=now,
        host=process.host(),
        pid=process.me()[0],
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
        site.catalogue.record_unlisted(due.copy, attempt)
    except DestinationTaken as error:
        log.error("%s: %s", due.copy.epn, error)
    except CatalogueError as error:
        log.error("%s: the attempt could not be recorded: %s", due.copy.epn, error)
