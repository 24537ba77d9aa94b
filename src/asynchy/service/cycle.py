"""One cycle of mxsync: the plan, carried out, and `ignore.yml` told of it."""

from __future__ import annotations

import logging
from collections import Counter

from asynchy.catalogue.alerts import Alerts
from asynchy.domain.epn import Epn
from asynchy.errors import CatalogueError
from asynchy.plan.outcome import Left, Plan
from asynchy.service.bring import Outcome
from asynchy.service.cycle_site import CycleSite
from asynchy.service.work import Report, Work

log = logging.getLogger(__name__)

_NOT_WANTED = frozenset({Left.IGNORED, Left.COMPLETE})


def run_cycle(site: CycleSite, plan: Plan) -> Report:
    """Transfer what is planned, `max-tasks` experiments at a time, until done or stopped."""
    # An EPN may have data on several beamlines; it is done when all of them are.
    open_parts: Counter[Epn] = Counter(transfer.copy.epn for transfer in plan.transfers)
    open_parts.update(item.epn for item in plan.left_out if item.reason.stays_due)

    def ignore(outcome: Outcome) -> None:
        # Where the entry cannot be written, the catalogue still knows that the copy is complete;
        # it is compared again in the next cycle, and nothing is lost.
        epn = outcome.copy.epn
        open_parts[epn] -= 1
        if not open_parts[epn]:
            site.ignore.add(epn)

    report = Work(site, plan, then=ignore).run(site.settings.max_tasks)
    _note(site, report)
    return report


def _note(site: CycleSite, report: Report) -> None:
    """Tell the alerts what was left undone, and what was done."""
    undone = {
        (item.epn, item.project or ""): str(item)
        for item in report.plan.left_out
        if item.reason.stays_due
    }
    undone |= {
        (outcome.copy.epn, outcome.copy.project): outcome.reason or outcome.verdict.value
        for outcome in report.outcomes
        if not outcome.complete
    }
    done = {outcome.copy.epn for outcome in report.outcomes if outcome.complete}
    done |= {item.epn for item in report.plan.left_out if item.reason in _NOT_WANTED}
    try:
        Alerts.open(site.catalogue.path).note(
            undone, done - {epn for epn, _ in undone}, site.clock.now()
        )
    except CatalogueError as error:
        log.error("what is due could not be noted for epnalert: %s", error)
