"""From the portal's visits to the plan of one run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from asynchy.domain.experiment import Survey
from asynchy.domain.text import count, size
from asynchy.errors import ExperimentAbsent, ListingError
from asynchy.plan.decide import Room, after_listing, before_listing, map_to_project
from asynchy.plan.outcome import Due, Left, LeftOut, Plan, Transfer
from asynchy.plan.select import Candidate, select
from asynchy.service.ask import ask_visits
from asynchy.service.site import Site
from asynchy.verify.destination import nearest_existing, room

log = logging.getLogger(__name__)


def make_plan(site: Site) -> Plan:
    """Ask, list and decide; nothing is written.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used, so it is not known what to leave out.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    ignored = site.ignore.read()
    if not site.ignore.path.exists():
        log.info("%s is not there yet: no EPN is skipped", site.ignore.path)
    now = datetime.now(UTC)
    site.board.phase("asking the portal")
    selection = select(ask_visits(site, now), now, site.settings.visit_day_range)
    decided = [_due(site, candidate, ignored) for candidate in selection.candidates]
    site.board.phase("listing what is due")
    due = _one_a_destination(decided)
    transfers, left_out = _fitting(site, [item for item in due if isinstance(item, Due)])
    plan = Plan(
        transfers=tuple(transfers),
        left_out=(*selection.left_out, *(i for i in due if isinstance(i, LeftOut)), *left_out),
        problems=selection.problems,
    )
    log.info(
        "plan: %s to transfer (%s to write), %d left out",
        count(len(plan.transfers), "experiment"),
        size(sum(transfer.survey.missing_bytes for transfer in plan.transfers)),
        len(plan.left_out),
    )
    return plan


def _due(site: Site, candidate: Candidate, ignored: frozenset[str]) -> Due | LeftOut:
    copy = map_to_project(candidate, site.rules)
    if isinstance(copy, LeftOut):
        return copy
    return before_listing(
        candidate,
        copy,
        ignored=copy.epn.text in ignored,
        history=site.catalogue.history(copy),
        folder_there=copy.project_folder.is_dir(),
    )


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


def _fitting(site: Site, due: list[Due]) -> tuple[list[Transfer], list[LeftOut]]:
    """List what is due, several at a time, and keep what fits beside all that was kept before."""
    transfers: list[Transfer] = []
    left_out: list[LeftOut] = []
    rooms: dict[int, Room] = {}
    with ThreadPoolExecutor(site.settings.max_tasks) as pool:
        for item, survey in zip(due, pool.map(lambda d: _survey(site, d), due), strict=True):
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
        return site.survey(due.copy)
    except ExperimentAbsent:
        return LeftOut(due.copy.epn, Left.ABSENT, due.copy.source, due.copy.project)
    except ListingError as error:
        log.error("%s: could not be listed: %s", due.copy.epn, error)
        return LeftOut(due.copy.epn, Left.UNLISTED, str(error), due.copy.project)
    except OSError as error:
        reason = f"{error.filename or due.copy.destination}: {error.strerror}"
        return LeftOut(due.copy.epn, Left.DESTINATION, reason, due.copy.project)
