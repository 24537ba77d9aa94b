"""Turns the results of a cycle into messages in the outbox, for people and other programs."""

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
    """Store the news of a cycle; returns the problem, None if there was none.

    `problems`: failed questions to the portal; `unlisted`: folders that were not listed.
    """
    settings, catalogue, now = context.settings, context.catalogue, context.clock.now()
    channels = channels_of(settings)
    try:
        collect_arrivals(catalogue, channels, now)
        if channels:
            conditions_ = [*outages(context, problems, unlisted), *_conditions(context)]
            collect_conditions(catalogue, channels, conditions_, now)
    except AsynchyError as error:
        log.error("messages for the channels could not be stored: %s", error)
        return str(error)
    return None


def outages(
    context: CycleContext, problems: tuple[str, ...], unlisted: tuple[str, ...]
) -> list[Condition]:
    """Services that could not be reached for hours; since when is stored.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    now = context.clock.now()
    reasons = {PORTAL: problems, SERVER: unlisted}
    since = {
        services: context.catalogue.outbox.note_outage(
            services, problems_[0] if problems_ else None, now
        )
        for services, problems_ in reasons.items()
    }
    return unreachable(since, reasons, context.settings.unreachable_hours, now)


def _conditions(context: CycleContext) -> list[Condition]:
    """The conditions after the cycle, by the catalogue and the copies at home.

    Raises:
        CatalogueError, IgnoreListError: one of the two cannot be used.
    """
    settings, now = context.settings, context.clock.now()
    entries = read_state_files(settings, write=False).entries
    conditions_, _ = states(settings, context.catalogue, entries, now)
    records = [item.record for item in conditions_]
    risk = risks(settings, asked_level(settings), now, records)
    return conditions(conditions_, risk.within(settings.epnalert_at_risk_days).items, now)
