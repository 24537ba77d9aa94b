"""What `asynchy adopt` does: copies that the original programs made count from now on.

With the projects of a `config.yml`:

    ask the portal, list the experiments at the facility
    walk the folders of the projects for places that hold data, whatever ignore.yml says
    compare and record what is not recorded as complete, in batches       adoption
    note what is not complete as due; nothing is fetched
    name what could not be compared, and what is called complete and is not at home

Below one destination, as for `asynchy sync`: the same for each experiment that a walk has seen,
without portal and `ignore.yml`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asynchy.copying.fetch import Outcome
from asynchy.localfs.filesystem import holds_data
from asynchy.model.attempt import Verdict
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State, experiment_state
from asynchy.model.formatting import moment
from asynchy.model.plan import DueCopy, Plan, PlannedTransfer, Skipped, SkipReason
from asynchy.model.policy import IgnoreEntry, Origin, Policy, owners_of
from asynchy.model.visit import problems_of
from asynchy.repatriation.adoption import AdoptionProgress, AdoptionResult, adopt, comparing
from asynchy.repatriation.catalogue_selection import SyncRequest, decide
from asynchy.repatriation.cycle_planner import observe_facility, stored_entry_owners
from asynchy.repatriation.executor import RunReport
from asynchy.repatriation.home_comparison import (
    due_at_home,
    is_whole,
    keep_known,
    note_due,
    nothing_seen,
    unmatched_places,
)
from asynchy.repatriation.home_places import (
    HomePlace,
    OddPlace,
    ProjectFolder,
    odd_place,
    odd_spelling,
    project_folders,
)
from asynchy.repatriation.sync import seen_records
from asynchy.repatriation.visit_query import ask_visits
from asynchy.runtime.context import RunContext
from asynchy.runtime.cycle_context import CycleContext

LISTED = "listed in ignore.yml, not at home"
_BY_ORIGINAL = "complete by the original program, not at home"
_NOT_AT_HOME = "not at home"


@dataclass(frozen=True)
class _Found:
    """What is known before anything is compared."""

    states: Sequence[ExperimentState]
    folders: Sequence[ProjectFolder]
    places: Sequence[HomePlace]
    """Those that hold data."""
    ignored: Mapping[str, IgnoreEntry]
    policy: Policy


def adopt_for_projects(
    context: CycleContext, epns: Collection[str], progress: AdoptionProgress
) -> AdoptionResult:
    """Compare what is at home for the projects of the config; `epns`: these alone; none: all.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used, so that it is not known what it skips.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    writing, at_a_time = context.catalogue.writing, context.settings.max_tasks
    now = context.clock.now()
    answers = ask_visits(context, now)
    entries = context.ignore.read()
    ignored = stored_entry_owners(context, entries, now, first=entries.has_list)
    seen = observe_facility(context, answers, {}, now)
    policy = replace(seen.policy, fetch_visible=True)
    states = [experiment_state(record, policy) for record in seen.records]
    folders = list(project_folders(policy.rules))
    places = [
        place
        for folder in folders
        for place in folder.places
        if (not epns or place.epn.text in epns) and holds_data(place.path)
    ]
    found = _Found(states, folders, places, ignored, policy)
    unlisted = seen.unlisted or nothing_seen(states, places)
    unmatched = [] if unlisted else unmatched_places(states, places)
    complete = _complete_places(states)
    due = [
        item
        for item in due_at_home(states, places, policy)
        if item.copy.destination not in complete
    ]
    plan = Plan(
        transfers=(),
        left_out=(*_not_compared(found, due, complete), *map(_gone, unmatched)),
        problems=problems_of(answers),
        unlisted=tuple(unlisted),
    )

    def recorded(report: RunReport) -> None:
        done = {one.copy.experiment for one in report.outcomes if one.complete}
        failed = [
            (one.copy, f"compared at home by `asynchy adopt`: {one.reason}")
            for one in report.outcomes
            if not (one.complete or _is_stopped(one) or _is_skipped(one.copy.epn, ignored))
        ]
        compared = replace(report.plan, left_out=())  # the next run of this command takes those
        note_due(context, policy, compared, failed, done)

    report = adopt(comparing(context), due, at_a_time, progress, plan, recorded)
    if writing:
        keep_known(context, policy, states, unmatched)
    partial = [one for one in report.plan.transfers if not is_whole(one.listing_diff)]
    skipped = [one for one in partial if _is_skipped(one.copy.epn, ignored)]
    return AdoptionResult(
        report,
        known=sum(place.path in complete for place in places),
        skipped=tuple(skipped),
        elsewhere=tuple(one for one in partial if one not in skipped and _is_elsewhere(one, found)),
        absent=tuple(_absent(found, epns)),
        unreadable_folders=tuple(folder.path for folder in folders if not folder.is_there),
        odd=tuple(
            one for folder in folders for one in folder.odd if not epns or one.epn.text in epns
        ),
    )


def adopt_below(
    context: RunContext, wish: SyncRequest, at_a_time: int, progress: AdoptionProgress
) -> AdoptionResult:
    """Compare what is below one destination, of experiments that a walk has seen.

    Raises:
        DestinationMissing: the destination is not there.
        NothingKnown: the catalogue is empty, or knows none of the EPNs that were named.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    records, unknown = seen_records(context, wish)
    owners, now = owners_of(records), context.clock.now()
    due: list[DueCopy] = []
    left_out = list(unknown)
    absent: list[str] = []
    odd: list[OddPlace] = []
    known = 0
    for record in filter(wish.takes, records):
        wanted = wish.copy_of(record)
        if not holds_data(wanted.destination):
            found = list(_odd_below(record, wanted.destination))
            odd += found
            absent += [] if found else _absent_below(record, wanted.destination, wish)
            continue
        copy = record.copy_at(wanted.destination)
        if copy is not None and copy.completed is not None:
            known += 1
        elif record.vanished is not None:
            since = f"since {moment(record.vanished)}"
            left_out.append(Skipped(record.experiment, SkipReason.GONE, since))
        elif isinstance(decision := decide(record, wanted, owners, now, named=True), Skipped):
            left_out.append(decision)
        elif decision is not None:
            due.append(decision)
    plan = Plan((), tuple(left_out), problems=())
    report = adopt(comparing(context), due, at_a_time, progress, plan, lambda _report: None)
    return AdoptionResult(report, known=known, absent=tuple(absent), odd=tuple(odd))


def _odd_below(record: ExperimentRecord, place: Path) -> Iterator[OddPlace]:
    """What is in the place of a copy, or is named like it, and cannot be it."""
    if (link := odd_place(place, record.epn)) is not None:
        yield link
    upper = place.with_name(record.epn.text.upper())
    if place.name == record.epn.text != upper.name:
        spelled = odd_spelling(upper, record.epn)
        if spelled is not None:
            yield spelled


def _absent_below(record: ExperimentRecord, place: Path, wish: SyncRequest) -> Iterator[str]:
    copy = record.copy_at(place)
    if copy is not None and copy.was_complete:
        return
    if record.completed_elsewhere:
        yield f"{record.epn}: {_BY_ORIGINAL}"
    elif wish.epns:
        yield f"{record.epn}: {_NOT_AT_HOME}"


def _complete_places(states: Iterable[ExperimentState]) -> set[Path]:
    """The places of copies that are recorded as complete."""
    copies = (copy for item in states for copy in item.record.copies)
    return {copy.copy.destination for copy in copies if copy.completed is not None}


def _not_compared(
    found: _Found, due: Iterable[DueCopy], complete: Collection[Path]
) -> Iterator[Skipped]:
    """What is at the facility and at home, and cannot be compared now, with the reason."""
    compared = {item.copy.destination for item in due} | set(complete)
    by_epn: defaultdict[Epn, list[HomePlace]] = defaultdict(list)
    for place in found.places:
        by_epn[place.epn].append(place)
    for item in found.states:
        if not item.record.visible or item.left is None:
            continue  # gone, at home, released, or to be compared
        for place in by_epn[item.record.epn]:
            wanted = found.policy.rules.copy_of(item.record, place.project).destination
            if wanted == place.path and place.path not in compared:
                yield Skipped(item.experiment, item.left, item.reason, place.project)


def _gone(place: HomePlace) -> Skipped:
    experiment = Experiment(place.beamline or "", place.epn)
    return Skipped(experiment, SkipReason.GONE, f"at home in {place.path}", place.project)


def _is_skipped(epn: Epn, ignored: Mapping[str, IgnoreEntry]) -> bool:
    """Whether a person's entry skips an EPN, whatever is at home of it."""
    entry = ignored.get(epn.text)
    return entry is not None and entry.origin is Origin.PERSON


def _is_stopped(outcome: Outcome) -> bool:
    return outcome.verdict is Verdict.STOPPED


def _is_elsewhere(transfer: PlannedTransfer, found: _Found) -> bool:
    project = found.policy.rules.project_of(transfer.copy.epn)
    return project is not None and project != transfer.copy.project


def _absent(found: _Found, epns: Collection[str]) -> Iterator[str]:
    """What is called complete, or was named, and is not at home, as far as all can be looked at."""
    at_home = {place.epn.text for place in found.places}
    records: defaultdict[str, list[ExperimentRecord]] = defaultdict(list)
    for item in found.states:
        records[item.record.epn.text].append(item.record)
    released = {one.record.epn.text for one in found.states if one.state is State.RELEASED}
    missing = {folder.path.name for folder in found.folders if not folder.is_there}
    called = {epn for epn, one in found.ignored.items() if one.origin in _OF_PROGRAMS}
    original = {
        epn for epn, some in records.items() if any(one.completed_elsewhere for one in some)
    }
    for epn in sorted(epns or (called | original)):
        copies = [copy for record in records[epn] for copy in record.copies]
        project = found.policy.rules.project_of(Epn(epn))
        is_known = any(copy.was_complete for copy in copies)
        if epn in at_home | released or project in missing or is_known:
            continue
        what = LISTED if epn in called else _BY_ORIGINAL if epn in original else _NOT_AT_HOME
        yield f"{epn}: {what}"


_OF_PROGRAMS = (Origin.ORIGINAL, Origin.OURS)
"""Whose entries say that an experiment is complete; a person's says that it need not be."""
