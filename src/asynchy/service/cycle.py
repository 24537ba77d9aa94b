"""One cycle of mxsync: the plan, carried out, and `ignore.yml` told of it."""

from __future__ import annotations

from collections import Counter

from asynchy.domain.epn import Epn
from asynchy.plan.outcome import Plan
from asynchy.service.bring import Outcome
from asynchy.service.site import CycleSite
from asynchy.service.work import Report, Work


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

    return Work(site, plan, then=ignore).run(site.settings.max_tasks)
