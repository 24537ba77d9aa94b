"""What is due, listed, and as much of it as fits at its destination."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait

from asynchy.domain.experiment import Survey
from asynchy.errors import ExperimentAbsent, ListingError
from asynchy.plan.decide import Room, after_listing
from asynchy.plan.outcome import Due, Left, LeftOut, Transfer, Why
from asynchy.service.site import Site
from asynchy.verify.destination import nearest_existing, room

log = logging.getLogger(__name__)

_TICK = 0.5


def fitting(
    site: Site, decided: Iterable[Due | LeftOut], at_a_time: int
) -> tuple[list[Transfer], list[LeftOut]]:
    """List what is due, several at a time, and keep what fits beside all that was kept before.

    Raises:
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    site.engine().require()
    transfers: list[Transfer] = []
    one_each = _one_a_destination(decided)
    left_out = [item for item in one_each if isinstance(item, LeftOut)]
    due = [item for item in one_each if isinstance(item, Due)]
    rooms: dict[int, Room] = {}
    with ThreadPoolExecutor(at_a_time) as pool:
        listings = [pool.submit(_survey, site, item) for item in due]
        new = next((item for item in due if item.why is Why.NEW), None)
        if new is not None:
            site.prepare(new.expected, beside=min(at_a_time, len(due)))  # the listings' own
        for item, listing in zip(due, listings, strict=True):
            while wait([listing], _TICK).not_done:
                site.board.beat()
            survey = listing.result()
            if isinstance(survey, LeftOut):
                left_out.append(survey)
                continue
            folder = nearest_existing(item.copy.destination)
            device = folder.stat().st_dev
            free = rooms.setdefault(device, room(folder))
            decision = after_listing(item, survey, free)
            if isinstance(decision, LeftOut):
                left_out.append(decision)
                continue
            transfers.append(decision)
            rooms[device] = free.less(survey)
    return transfers, left_out


def _survey(site: Site, due: Due) -> Survey | LeftOut:
    try:
        return site.survey(due.copy, expected=due.expected)
    except ExperimentAbsent:
        if due.why is Why.LATE:
            gone = "it is no longer at the facility"
            return LeftOut(due.copy.epn, Left.COMPLETE, gone, due.copy.project)
        return LeftOut(due.copy.epn, Left.ABSENT, due.copy.source, due.copy.project)
    except ListingError as error:
        told = f"{error} ({error.hint})" if error.hint else str(error)
        log.error("%s: could not be listed: %s", due.copy.epn, told)
        return LeftOut(due.copy.epn, Left.UNLISTED, told, due.copy.project)
    except OSError as error:
        reason = f"{error.filename or due.copy.destination}: {error.strerror}"
        return LeftOut(due.copy.epn, Left.DESTINATION, reason, due.copy.project)


def _one_a_destination(decided: Iterable[Due | LeftOut]) -> list[Due | LeftOut]:
    """Leave out whatever would be mixed into another experiment's copy."""
    taken: set[str] = set()
    kept: list[Due | LeftOut] = []
    for item in decided:
        if isinstance(item, Due):
            destination = str(item.copy.destination)
            if destination in taken:
                detail = f"{destination}; put {{beamline}} into destination-path"
                item = LeftOut(item.copy.epn, Left.SAME_DESTINATION, detail, item.copy.project)  # noqa: PLW2901 - replaced on purpose
            taken.add(destination)
        kept.append(item)
    return kept
