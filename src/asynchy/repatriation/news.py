"""What a cycle found out, for people and other programs: it becomes messages in the outbox."""

from __future__ import annotations

import logging

from asynchy.delivery.channels import channels_of
from asynchy.delivery.collect import collect_arrivals, collect_conditions
from asynchy.errors import AsynchyError
from asynchy.model.news import Condition
from asynchy.repatriation.lost_state import read_state_files
from asynchy.reporting.conditions import PORTAL, SERVER, conditions, unreachable
from asynchy.reporting.reports import asked_level, risks, states
from asynchy.runtime.cycle_context import CycleContext

log = logging.getLogger(__name__)


def collect_news(
    context: CycleContext, problems: tuple[str, ...], unlisted: tuple[str, ...]
) -> str | None:
    """Store what has to be told after a cycle; what went wrong, None: nothing.

    `problems`: what the portal did not answer; `unlisted`: what its server did not list.
    """
    settings, catalogue, now = context.settings, context.catalogue, context.clock.now()
    channels = channels_of(settings)
    try:
        collect_arrivals(catalogue, channels, now)
        if channels:
            found = [*outages(context, problems, unlisted), *_conditions(context)]
            collect_conditions(catalogue, channels, found, now)
    except AsynchyError as error:
        log.error("what people are to be told was not noted: %s", error)
        return str(error)
    return None


def outages(
    context: CycleContext, problems: tuple[str, ...], unlisted: tuple[str, ...]
) -> list[Condition]:
    """What could not be asked for hours; since when is noted.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    now = context.clock.now()
    reasons = {PORTAL: problems, SERVER: unlisted}
    since = {
        what: context.catalogue.outbox.note_outage(what, said[0] if said else None, now)
        for what, said in reasons.items()
    }
    return unreachable(since, reasons, context.settings.unreachable_hours, now)


def _conditions(context: CycleContext) -> list[Condition]:
    """What holds after the cycle, by the catalogue and what is at home.

    Raises:
        CatalogueError, IgnoreListError: one of the two cannot be used.
    """
    settings, now = context.settings, context.clock.now()
    entries = read_state_files(settings, write=False).entries
    found, _ = states(settings, context.catalogue, entries, now)
    records = [item.record for item in found]
    risk = risks(settings, asked_level(settings), now, records)
    return conditions(found, risk.within(settings.epnalert_at_risk_days).items, now)
