"""One cycle of mxsync: the plan, carried out, and what follows for `ignore.yml` and the alerts."""

from __future__ import annotations

import logging
from dataclasses import replace

from asynchy.domain.experiment import Experiment
from asynchy.errors import AsynchyError, CatalogueError
from asynchy.plan.due_notes import due_notes
from asynchy.plan.experiment_state import IgnoreEntry, Origin
from asynchy.plan.ignore_rules import epns_to_add
from asynchy.plan.outcome import Plan
from asynchy.service.cycle_site import CycleSite
from asynchy.service.work import Report, Work

log = logging.getLogger(__name__)


def run_cycle(site: CycleSite, plan: Plan) -> Report:
    """Transfer what is planned, `max-tasks` experiments at a time, until done or stopped."""
    report = Work(site, plan).run(site.settings.max_tasks)
    done = {outcome.copy.experiment for outcome in report.outcomes if outcome.complete}
    problems = list(report.problems)
    try:
        _ignore(site, plan, done)
    except AsynchyError as error:
        # The catalogue still knows which copies are complete; the next cycle writes the entries.
        log.error("%s (%s)", error, error.hint)
        problems.append(str(error))
    _note(site, report, done)
    return replace(report, problems=tuple(problems))


def _ignore(site: CycleSite, plan: Plan, done: set[Experiment]) -> None:
    """Add the EPNs of which all known experiments are complete to `ignore.yml`, once."""
    new = epns_to_add(plan.states, plan.ignored, done)
    if not new:
        return
    now = site.clock.now()
    # The catalogue first: an entry of ours that it does not know would be taken for a person's.
    entries = {epn.text: IgnoreEntry(Origin.OURS, now) for epn in new}
    site.catalogue.ignore_entries.add(entries)
    site.ignore.add_all(new)


def _note(site: CycleSite, report: Report, done: set[Experiment]) -> None:
    """Note what was left undone, and what was done, for the mails and for `asynchy status`."""
    failed = [
        (outcome.copy, outcome.reason or outcome.verdict.value)
        for outcome in report.outcomes
        if not outcome.complete
    ]
    notes = due_notes(report.plan, failed, done)
    try:
        site.catalogue.notifications.note(notes.undone, notes.done, site.clock.now())
    except CatalogueError as error:
        log.error("what is due could not be noted for epnalert: %s", error)
