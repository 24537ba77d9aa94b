"""One cycle of mxsync: the plan, carried out, and what follows for `ignore.yml` and the alerts."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from asynchy.catalogue.state_markers import StateMarkers
from asynchy.domain.experiment import Experiment
from asynchy.errors import AsynchyError, CatalogueError
from asynchy.plan.due_notes import due_notes
from asynchy.plan.ignore_rules import epns_to_add
from asynchy.plan.outcome import Plan
from asynchy.plan.policy import IgnoreEntry, Origin
from asynchy.plan.safety import name_of, replaced_words
from asynchy.service.backups import back_up_daily
from asynchy.service.cycle_site import CycleSite
from asynchy.service.lost_state import lost_since_begin, read_state_files
from asynchy.service.presence import copies_with_presence
from asynchy.service.replaced import remove_old
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
        epns = ", ".join(sorted({experiment.epn.text for experiment in done}))
        what = f"{epns}: complete, but not noted in ignore.yml: {error}" if epns else str(error)
        log.error("%s (%s)", what, error.hint or "the next cycle tries again")
        problems.append(what)
    _note(site, report, done)
    attention = _remove_replaced(site, sure=plan.unsure is None)
    if (problem := back_up_daily(site.settings, site.clock.now())) is not None:
        problems.append(problem)
    return replace(report, problems=tuple(problems), attention=tuple(attention))


def _ignore(site: CycleSite, plan: Plan, done: set[Experiment]) -> None:
    """Add the EPNs of which all known experiments are complete to `ignore.yml`, once.

    Raises:
        IgnoreListError, CatalogueError: one of the two cannot be used.
        StateLost: one of the two is gone, such as with a file system during the cycle.
    """
    wanted = epns_to_add(plan.states, plan.ignored, done)
    path = site.settings.catalogue_path
    commented = StateMarkers.peek(path).read().ignore_comment == str(site.ignore.path)
    if not wanted and plan.ignored and commented:  # nothing to write, so nothing to read
        StateMarkers.open(path).note_ignore_file(
            site.ignore.path, len(plan.ignored), commented=False
        )
        return
    files = read_state_files(site.settings, write=True)
    lost = lost_since_begin(files)
    if lost is not None:
        raise lost
    there = {epn.text for epn in files.entries.epns}
    new = [epn for epn in wanted if epn.text not in there]
    if not new and not files.entries.has_list:
        return  # the first entry makes the file
    now = site.clock.now()
    # The catalogue first: an entry of ours that it does not know would be a person's.
    site.catalogue.ignore_entries.add({e.text: IgnoreEntry(Origin.OURS, now) for e in new})
    site.ignore.add_all(new, None if commented else files.catalogue)
    StateMarkers.open(path).note_ignore_file(
        site.ignore.path, len(there) + len(new), commented=True
    )


def _remove_replaced(site: CycleSite, *, sure: bool) -> list[str]:
    """Remove earlier versions of files that were kept for long enough, if it is `sure` how long.

    What needs a person: what went wrong, and copies beside which something is kept that has less in
    its place now.
    """
    days = site.settings.keep_replaced
    try:
        kept = site.catalogue.overview.replaced()
        if not kept:
            return []
        keep = timedelta(days=days) if days and sure else None
        problems = remove_old(site, copies_with_presence(kept), keep)
        by_less = [one for one in site.catalogue.overview.replaced() if one.replaced.by_less]
    except CatalogueError as error:
        log.error("earlier versions of files were not looked at: %s", error)
        return [str(error)]
    less = [f"{name_of(one.copy.experiment)}: {replaced_words(one)}" for one in by_less]
    return problems + less


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
