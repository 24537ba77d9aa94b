"""`asynchy catalogue rebuild`: compares everything at home with the facility.

ask the portal, list the experiments at the facility
walk the folders of the projects for places that hold data, whatever ignore.yml says and however
old the visit is; for whichever project they were fetched
list each experiment, compare size and time of every file
all there: record the copy as complete     something missing: note it as due, nothing is fetched
name the places that have a file or a link, or cannot be read
note what is at home and no longer at the facility
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asynchy.localfs.filesystem import holds_data
from asynchy.model.experiment import Copy
from asynchy.model.experiment_state import ExperimentState, State, experiment_state
from asynchy.model.formatting import escaped
from asynchy.model.plan import Plan, PlannedTransfer
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.model.visit import problems_of
from asynchy.repatriation.capacity import blocked, select_what_fits
from asynchy.repatriation.cycle_planner import observe_facility
from asynchy.repatriation.executor import Executor, RunReport
from asynchy.repatriation.home_comparison import (
    difference_words,
    due_at_home,
    is_whole,
    keep_known,
    note_due,
    nothing_seen,
    unmatched_places,
    without_data,
)
from asynchy.repatriation.home_places import OddPlace, ProjectFolder, project_folders
from asynchy.repatriation.visit_query import ask_visits
from asynchy.reporting.reports import ignore_entry_owners
from asynchy.runtime.cycle_context import CycleContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RebuildResult:
    """The result of a rebuild."""

    report: RunReport
    incomplete: tuple[PlannedTransfer, ...]
    """At home, but not all of it; the next cycle fetches what is missing."""
    skipped: tuple[PlannedTransfer, ...]
    """The same, but an entry of `ignore.yml` skips its EPN: nothing is fetched."""
    elsewhere: tuple[PlannedTransfer, ...]
    """The same, at the place of another project: nothing is fetched to there."""
    absent: tuple[ExperimentState, ...]
    """Complete once, by asynchy's entry in `ignore.yml`; at the facility, and not at home; without
    a known visit.
    """
    unreadable: tuple[Path, ...]
    """Folders of projects that are missing, empty or cannot be read: are they mounted?"""
    running: tuple[ExperimentState, ...]
    """At home, but not compared: a visit runs."""
    unmatched: tuple[Path, ...]
    """Folders at home of EPNs that are not at the facility: nothing can be compared."""
    odd: tuple[OddPlace, ...]
    """What is named after an EPN at home, and could not be looked at as its copy."""
    unlisted: tuple[str, ...]
    """Why the facility could not be listed, so that not everything was compared; empty: it was."""


def rebuild(context: CycleContext) -> RebuildResult:
    """Compare everything at home with the facility, and record what is complete.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used, so that it is not known what it skips.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    now = context.clock.now()
    context.board.phase("asking the portal")
    answers = ask_visits(context, now)
    observation = observe_facility(context, answers, {}, now)
    policy = replace(observation.policy, fetch_visible=True)
    states = [experiment_state(record, policy) for record in observation.records]
    context.board.phase("looking for copies at home")
    folders = list(project_folders(policy.rules))
    places = [place for folder in folders for place in folder.places if holds_data(place.path)]
    context.board.phase("comparing the copies at home")
    transfers, left_out = select_what_fits(
        context, due_at_home(states, places, policy), context.settings.max_tasks
    )
    looked_at = {place.path for place in places}
    left_out += filter(None, (blocked(copy) for copy in without_data(states, folders, looked_at)))
    whole_copies = [transfer for transfer in transfers if is_whole(transfer.listing_diff)]
    plan = Plan(
        transfers=tuple(whole_copies),
        left_out=tuple(left_out),
        problems=problems_of(answers),
        unlisted=observation.unlisted,
    )
    report = Executor(context, plan).run(context.settings.max_tasks)
    complete = {transfer.copy.experiment for transfer in whole_copies}
    partial = [transfer for transfer in transfers if transfer.copy.experiment not in complete]
    note_due(context, policy, report.plan, _failed(report, partial))
    unlisted = observation.unlisted or nothing_seen(states, places)
    unmatched = [] if unlisted else unmatched_places(states, places)
    keep_known(context, policy, states, unmatched)
    ignored = ignore_entry_owners(context.ignore.read(), context.settings, context.catalogue, now)
    with_entries = replace(policy, ignored=ignored)
    skips = {
        record.experiment
        for record in observation.records
        if experiment_state(record, with_entries).state is State.SKIPPED
    }
    wanted = {item.wanted.destination for item in states if item.wanted is not None}
    in_place = [item for item in partial if item.copy.destination in wanted]
    at_home = {place.epn for place in places}
    return RebuildResult(
        report,
        incomplete=tuple(item for item in in_place if item.copy.experiment not in skips),
        skipped=tuple(item for item in in_place if item.copy.experiment in skips),
        elsewhere=tuple(item for item in partial if item not in in_place),
        absent=tuple(_absent(states, ignored, folders)),
        unreadable=tuple(folder.path for folder in folders if not folder.is_there),
        running=tuple(
            item
            for item in states
            if item.state is State.WAITING and item.copy is None and item.record.epn in at_home
        ),
        unmatched=tuple(place.path for place in unmatched),
        odd=tuple(one for folder in folders for one in folder.odd),
        unlisted=tuple(unlisted),
    )


def _failed(report: RunReport, partial: Iterable[PlannedTransfer]) -> Iterator[tuple[Copy, str]]:
    """The copies at home that were not completed, with the reason."""
    for outcome in report.outcomes:
        if not outcome.complete:
            yield outcome.copy, outcome.reason or outcome.verdict.value
    for transfer in partial:
        copy, reason = transfer.copy, difference_words(transfer.listing_diff)
        log.warning("%s: not complete in %s: %s", copy.epn, escaped(str(copy.destination)), reason)
        yield copy, f"not complete when the catalogue was rebuilt: {reason}"


def _absent(
    states: Iterable[ExperimentState],
    ignored: Mapping[str, IgnoreEntry],
    folders: Sequence[ProjectFolder],
) -> Iterator[ExperimentState]:
    """EPNs that are complete by our entries in `ignore.yml`, and are only at the facility."""
    at_home = {place.epn for folder in folders for place in folder.places}
    known_places = {folder.path for folder in folders if folder.is_there}
    for item in states:
        record, entry = item.record, ignored.get(item.record.epn.text)
        is_ours = entry is not None and entry.origin is Origin.OURS
        is_here = record.epn in at_home or any(copy.completed for copy in record.copies)
        known = item.wanted is not None and item.wanted.project_folder in known_places
        if is_ours and known and record.visible and not (is_here or record.beamtimes):
            yield item
