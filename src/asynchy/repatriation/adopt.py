"""`asynchy adopt`: takes over copies that the original programs made.

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
    """The facts that are known before anything is compared."""

    states: Sequence[ExperimentState]
    folders: Sequence[ProjectFolder]
    places: Sequence[HomePlace]
    """Those that hold data."""
    ignored: Mapping[str, IgnoreEntry]
    policy: Policy


def adopt_for_projects(
    context: CycleContext, epns: Collection[str], progress: AdoptionProgress
) -> AdoptionResult:
    """Compare the copies at home of the config's projects; `epns`: only these; empty: all.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used, so that its skipped EPNs are not known.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    writing, at_a_time = context.catalogue.writing, context.settings.max_tasks
    now = context.clock.now()
    answers = ask_visits(context, now)
    entries = context.ignore.read()
    ignored = stored_entry_owners(context, entries, now, may_be_first=entries.has_list)
    observation = observe_facility(context, answers, {}, now)
    policy = replace(observation.policy, fetch_visible=True)
    states = [experiment_state(record, policy) for record in observation.records]
    folders = list(project_folders(policy.rules))
    home_places = [
        place
        for folder in folders
        for place in folder.places
        if (not epns or place.epn.text in epns) and holds_data(place.path)
    ]
    sources = _Found(states, folders, home_places, ignored, policy)
    unlisted = observation.unlisted or nothing_seen(states, home_places)
    unmatched = [] if unlisted else unmatched_places(states, home_places)
    complete = _complete_places(states)
    to_compare = [
        item
        for item in due_at_home(states, home_places, policy)
        if item.copy.destination not in complete
    ]
    plan = Plan(
        transfers=(),
        left_out=(
            *_not_compared(sources, to_compare, complete),
            *map(_as_gone, unmatched),
        ),
        problems=problems_of(answers),
        unlisted=tuple(unlisted),
    )

    def recorded(report: RunReport) -> None:
        completed = {item.copy.experiment for item in report.outcomes if item.complete}
        failed = [
            (item.copy, f"compared at home by `asynchy adopt`: {item.reason}")
            for item in report.outcomes
            if not (item.complete or _is_stopped(item) or _is_skipped(item.copy.epn, ignored))
        ]
        compared = replace(report.plan, left_out=())  # the next run of this command takes those
        note_due(context, policy, compared, failed, completed)

    report = adopt(comparing(context), to_compare, at_a_time, progress, plan, recorded)
    if writing:
        keep_known(context, policy, states, unmatched)
    partial = [item for item in report.plan.transfers if not is_whole(item.listing_diff)]
    skipped = [item for item in partial if _is_skipped(item.copy.epn, ignored)]
    return AdoptionResult(
        report,
        known=sum(place.path in complete for place in home_places),
        skipped=tuple(skipped),
        elsewhere=tuple(
            item for item in partial if item not in skipped and _is_elsewhere(item, sources)
        ),
        absent=tuple(_absent(sources, epns)),
        unreadable_folders=tuple(folder.path for folder in folders if not folder.is_there),
        odd=tuple(
            one for folder in folders for one in folder.odd if not epns or one.epn.text in epns
        ),
    )


def adopt_below(
    context: RunContext, request: SyncRequest, at_a_time: int, progress: AdoptionProgress
) -> AdoptionResult:
    """Compare what is below one destination, of experiments that a walk has seen.

    Raises:
        DestinationMissing: the destination is not there.
        NothingKnown: the catalogue is empty, or knows none of the EPNs that were named.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    records, unknown = seen_records(context, request)
    owners, now = owners_of(records), context.clock.now()
    to_compare: list[DueCopy] = []
    left_out = list(unknown)
    absent: list[str] = []
    odd: list[OddPlace] = []
    complete = 0
    for record in filter(request.takes, records):
        copy_at_home = request.copy_of(record)
        place = copy_at_home.destination
        if not holds_data(place):
            odd_places = list(_odd_below(record, place))
            odd += odd_places
            absent += [] if odd_places else _absent_below(record, place, request)
            continue
        copy = record.copy_at(copy_at_home.destination)
        if copy is not None and copy.completed is not None:
            complete += 1
        elif record.vanished is not None:
            since = f"since {moment(record.vanished)}"
            left_out.append(Skipped(record.experiment, SkipReason.GONE, since))
        elif isinstance(decision := decide(record, copy_at_home, owners, now, named=True), Skipped):
            left_out.append(decision)
        elif decision is not None:
            to_compare.append(decision)
    plan = Plan((), tuple(left_out), problems=())
    report = adopt(comparing(context), to_compare, at_a_time, progress, plan, lambda _report: None)
    return AdoptionResult(report, known=complete, absent=tuple(absent), odd=tuple(odd))


def _odd_below(record: ExperimentRecord, place: Path) -> Iterator[OddPlace]:
    """What is in the place of a copy, or is named like it, and cannot be it."""
    if (link := odd_place(place, record.epn)) is not None:
        yield link
    upper = place.with_name(record.epn.text.upper())
    if place.name == record.epn.text != upper.name:
        spelled = odd_spelling(upper, record.epn)
        if spelled is not None:
            yield spelled


def _absent_below(record: ExperimentRecord, place: Path, request: SyncRequest) -> Iterator[str]:
    copy = record.copy_at(place)
    if copy is not None and copy.was_complete:
        return
    if record.completed_elsewhere:
        yield f"{record.epn}: {_BY_ORIGINAL}"
    elif request.epns:
        yield f"{record.epn}: {_NOT_AT_HOME}"


def _complete_places(states: Iterable[ExperimentState]) -> set[Path]:
    """The places of copies that are recorded as complete."""
    copies = (copy for item in states for copy in item.record.copies)
    return {copy.copy.destination for copy in copies if copy.completed is not None}


def _not_compared(
    sources: _Found, to_compare: Iterable[DueCopy], complete: Collection[Path]
) -> Iterator[Skipped]:
    """Experiments at the facility and at home that cannot be compared now, with the reason."""
    compared = {item.copy.destination for item in to_compare} | set(complete)
    by_epn: defaultdict[Epn, list[HomePlace]] = defaultdict(list)
    for place in sources.places:
        by_epn[place.epn].append(place)
    for item in sources.states:
        if not item.record.visible or item.left is None:
            continue  # gone, at home, released, or to be compared
        for place in by_epn[item.record.epn]:
            expected_path = sources.policy.rules.copy_of(item.record, place.project).destination
            if expected_path == place.path and place.path not in compared:
                yield Skipped(item.experiment, item.left, item.reason, place.project)


def _as_gone(place: HomePlace) -> Skipped:
    experiment = Experiment(place.beamline or "", place.epn)
    return Skipped(experiment, SkipReason.GONE, f"at home in {place.path}", place.project)


def _is_skipped(epn: Epn, ignored: Mapping[str, IgnoreEntry]) -> bool:
    """Whether a person's entry skips an EPN, even if it has files at home."""
    entry = ignored.get(epn.text)
    return entry is not None and entry.origin is Origin.PERSON


def _is_stopped(outcome: Outcome) -> bool:
    return outcome.verdict is Verdict.STOPPED


def _is_elsewhere(transfer: PlannedTransfer, sources: _Found) -> bool:
    project = sources.policy.rules.project_of(transfer.copy.epn)
    return project is not None and project != transfer.copy.project


def _absent(sources: _Found, epns: Collection[str]) -> Iterator[str]:
    """EPNs that are called complete, or were named, and are not at home."""
    at_home = {place.epn.text for place in sources.places}
    records: defaultdict[str, list[ExperimentRecord]] = defaultdict(list)
    for item in sources.states:
        records[item.record.epn.text].append(item.record)
    released = {item.record.epn.text for item in sources.states if item.state is State.RELEASED}
    missing = {folder.path.name for folder in sources.folders if not folder.is_there}
    called_complete = {epn for epn, item in sources.ignored.items() if item.origin in _OF_PROGRAMS}
    original = {
        epn
        for epn, of_epn in records.items()
        if any(record.completed_elsewhere for record in of_epn)
    }
    for epn in sorted(epns or (called_complete | original)):
        copies = [copy for record in records[epn] for copy in record.copies]
        project = sources.policy.rules.project_of(Epn(epn))
        is_known = any(copy.was_complete for copy in copies)
        if epn in at_home | released or project in missing or is_known:
            continue
        by_original = _BY_ORIGINAL if epn in original else _NOT_AT_HOME
        yield f"{epn}: {LISTED if epn in called_complete else by_original}"


_OF_PROGRAMS = (Origin.ORIGINAL, Origin.OURS)
"""Entries of these mean that an experiment is complete; a person's means that it need not be."""
