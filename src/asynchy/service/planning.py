"""From the portal's visits to the plan of one run."""

from __future__ import annotations

import logging
from datetime import timedelta

from asynchy.domain.text import count, size
from asynchy.plan.decide import SecondLook, before_listing, map_to_project
from asynchy.plan.outcome import Due, LeftOut, Plan
from asynchy.plan.select import Candidate, select
from asynchy.service.ask import ask_visits
from asynchy.service.cycle_site import CycleSite
from asynchy.service.fitting import fitting

log = logging.getLogger(__name__)


def make_plan(site: CycleSite) -> Plan:
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
    now = site.clock.now()
    site.board.phase("asking the portal")
    answers = ask_visits(site, now)
    selection = select(answers, now, site.settings.visit_day_range)
    days = site.settings.recheck_after
    second_look = SecondLook(now, timedelta(days=days)) if days else None
    decided = [_due(site, candidate, ignored, second_look) for candidate in selection.candidates]
    site.board.phase("listing what is due")
    transfers, left_out = fitting(site, decided, site.settings.max_tasks)
    plan = Plan(
        transfers=tuple(transfers),
        left_out=(*selection.left_out, *left_out),
        problems=selection.problems,
    )
    log.info(
        "plan: %s to transfer (%s to write), %d left out",
        count(len(plan.transfers), "experiment"),
        size(sum(transfer.survey.missing_bytes for transfer in plan.transfers)),
        len(plan.left_out),
    )
    return plan


def _due(
    site: CycleSite, candidate: Candidate, ignored: frozenset[str], second_look: SecondLook | None
) -> Due | LeftOut:
    copy = map_to_project(candidate, site.rules)
    if isinstance(copy, LeftOut):
        return copy
    return before_listing(
        candidate,
        copy,
        ignored=copy.epn.text in ignored,
        history=site.catalogue.history(copy),
        folder_there=copy.project_folder.is_dir(),
        second_look=second_look,
    )
