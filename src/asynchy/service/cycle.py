"""One cycle of mxsync: the plan, carried out, and what follows for `ignore.yml` and the alerts."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import replace

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.errors import AsynchyError, CatalogueError
from asynchy.plan.experiment_state import ExperimentState, IgnoreEntry, Origin, State
from asynchy.plan.outcome import Plan
from asynchy.service.cycle_site import CycleSite
from asynchy.service.work import Report, Work

log = logging.getLogger(__name__)

_SETTLED = frozenset({State.AT_HOME, State.RELEASED, State.SKIPPED})


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
    by_epn: defaultdict[Epn, list[ExperimentState]] = defaultdict(list)
    for item in plan.states:
        by_epn[item.record.epn].append(item)
    new = [
        epn
        for epn, items in by_epn.items()
        if epn.text not in plan.ignored and all(_is_settled(item, done) for item in items)
    ]
    if not new:
        return
    now = site.clock.now()
    # The catalogue first: an entry of ours that it does not know would be taken for a person's.
    entries = {epn.text: IgnoreEntry(Origin.OURS, now) for epn in new}
    site.catalogue.ignore_entries.add(entries)
    site.ignore.add_all(new)


def _is_settled(item: ExperimentState, done: set[Experiment]) -> bool:
    complete = item.copy is not None and item.copy.completed is not None
    gone = item.state is State.GONE and complete
    return item.experiment in done or item.state in _SETTLED or gone


def _note(site: CycleSite, report: Report, done: set[Experiment]) -> None:
    """Note what was left undone, and what was done, for the mails and for `asynchy status`."""
    undone = {
        item.experiment: (item.project or "", str(item))
        for item in report.plan.left_out
        if item.reason.stays_due
    }
    undone |= {
        outcome.copy.experiment: (
            outcome.copy.project,
            outcome.reason or outcome.verdict.value,
        )
        for outcome in report.outcomes
        if not outcome.complete
    }
    settled = {item.experiment for item in report.plan.states if item.state in _SETTLED}
    noted = {item.experiment for item in report.plan.states if item.record.note is not None}
    try:
        site.catalogue.notifications.note(
            undone, ((done | settled) & noted) - undone.keys(), site.clock.now()
        )
    except CatalogueError as error:
        log.error("what is due could not be noted for epnalert: %s", error)
