"""One cycle of mxsync: executes the plan, then updates `ignore.yml` and the notes for alerts."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from asynchy.catalogue.state_markers import StateMarkers
from asynchy.copying.replaced_files import remove_old, with_less
from asynchy.errors import AsynchyError, CatalogueError, ExitCode
from asynchy.model.copy_record import Presence
from asynchy.model.experiment import Experiment
from asynchy.model.ignore_rules import epns_to_add
from asynchy.model.plan import DueReason, Plan
from asynchy.model.plan_overview import second_folders
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.repatriation.daily_backup import back_up_daily
from asynchy.repatriation.due_notes import due_notes
from asynchy.repatriation.executor import Executor, RunReport
from asynchy.repatriation.lost_state import lost_since_begin, read_state_files
from asynchy.repatriation.news import collect_news
from asynchy.reporting.presence import copies_with_presence
from asynchy.runtime.cycle_context import CycleContext

log = logging.getLogger(__name__)


def run_cycle(context: CycleContext, plan: Plan) -> RunReport:
    """Execute the plan, `max-tasks` experiments at a time, until done or stopped."""
    report = Executor(context, plan).run(context.settings.max_tasks)
    completed = {outcome.copy.experiment for outcome in report.outcomes if outcome.complete}
    problems = list(report.problems)
    try:
        _ignore(context, plan, completed)
    except AsynchyError as error:
        # The catalogue still knows which copies are complete; the next cycle writes the entries.
        epns = ", ".join(sorted({experiment.epn.text for experiment in completed}))
        message = f"{epns}: complete, but not noted in ignore.yml: {error}" if epns else str(error)
        log.error("%s (%s)", message, error.hint or "the next cycle tries again")
        problems.append(message)
    _note(context, report, completed)
    _forget_old_places(context, report)
    attention = _remove_replaced(context, keep_is_known=plan.unsure is None)
    attention += second_folders(plan.states, completed)
    if (problem := collect_news(context, plan.problems, plan.unlisted)) is not None:
        problems.append(problem)
    if (problem := back_up_daily(context.settings, context.clock.now())) is not None:
        problems.append(problem)
    report = replace(report, problems=tuple(problems), attention=tuple(attention))
    _note_complete(context, report)
    return report


def _ignore(context: CycleContext, plan: Plan, completed: set[Experiment]) -> None:
    """Add the EPNs of which all known experiments are complete to `ignore.yml`, once.

    Raises:
        IgnoreListError, CatalogueError: one of the two cannot be used.
        StateLost: one of the two is gone, such as with a file system during the cycle.
    """
    epns = epns_to_add(plan.states, plan.ignored, completed)
    path = context.settings.catalogue_address
    commented = StateMarkers.open_readonly(path).read().ignore_comment == str(context.ignore.path)
    if not epns and plan.ignored and commented:  # nothing to write, so nothing to read
        StateMarkers.open(path).note_ignore_file(
            context.ignore.path, len(plan.ignored), commented=False
        )
        return
    files = read_state_files(context.settings, write=True)
    error = lost_since_begin(files)
    if error is not None:
        raise error
    existing = {epn.text for epn in files.entries.epns}
    new = [epn for epn in epns if epn.text not in existing]
    if not new and not files.entries.has_list:
        return  # the first entry makes the file
    now = context.clock.now()
    # The catalogue first: an entry of ours that it does not know would count as a person's.
    context.catalogue.ignore_entries.add({epn.text: IgnoreEntry(Origin.OURS, now) for epn in new})
    context.ignore.add_all(new, None if commented else files.catalogue)
    StateMarkers.open(path).note_ignore_file(
        context.ignore.path, len(existing) + len(new), commented=True
    )


def _remove_replaced(context: CycleContext, *, keep_is_known: bool) -> list[str]:
    """Remove earlier versions of files that were kept long enough, if all visits are known.

    Returns sentences for a person: problems, and copies with a kept file whose place has less data
    now.
    """
    days = context.settings.keep_replaced
    try:
        records = context.catalogue.overview.replaced()
        if not records:
            return []
        keep_for = timedelta(days=days) if days and keep_is_known else None
        problems = remove_old(context, copies_with_presence(records), keep_for)
        return problems + with_less(context)
    except CatalogueError as error:
        log.error("earlier versions of files could not be checked: %s", error)
        return [str(error)]


def _forget_old_places(context: CycleContext, report: RunReport) -> None:
    """Forget the old places of copies that are complete at the one that the config names now."""
    moved = {item.copy for item in report.plan.transfers if item.why is DueReason.MOVED}
    complete = {
        outcome.copy.experiment: outcome.copy for outcome in report.outcomes if outcome.complete
    }
    new_places = {copy.experiment: copy for copy in moved if copy.experiment in complete}
    if not new_places:
        return
    try:
        epns = {experiment.epn.text for experiment in new_places}
        for record in copies_with_presence(context.catalogue.overview.copies(epns)):
            new_copy = new_places.get(record.copy.experiment)
            is_elsewhere = record.was_complete and record.presence is not Presence.THERE
            if (
                new_copy is not None
                and is_elsewhere
                and record.copy.destination != new_copy.destination
            ):
                reason = f"complete in {new_copy.destination}, which the config names"
                context.catalogue.decisions.forget(record, reason, context.clock.now())
                log.info("%s: %s is forgotten: %s", new_copy.epn, record.copy.destination, reason)
    except CatalogueError as error:
        log.error("old places of copies were not forgotten: %s", error)


def _note_complete(context: CycleContext, report: RunReport) -> None:
    """Note for the dashboard that a cycle got all the answers that it asked for."""
    if report.exit_code not in (ExitCode.OK, ExitCode.INCOMPLETE) or context.stop.requested:
        return
    try:
        context.catalogue.health.note_complete_cycle(context.clock.now())
    except CatalogueError as error:
        log.error("that the cycle was complete could not be noted: %s", error)


def _note(context: CycleContext, report: RunReport, completed: set[Experiment]) -> None:
    """Note open and completed experiments for the mails and for `asynchy status`."""
    failed = [
        (outcome.copy, outcome.reason or outcome.verdict.value)
        for outcome in report.outcomes
        if not outcome.complete
    ]
    notes = due_notes(report.plan, failed, completed)
    try:
        context.catalogue.notifications.note(notes.undone, notes.done, context.clock.now())
    except CatalogueError as error:
        log.error("due experiments could not be noted for epnalert: %s", error)
