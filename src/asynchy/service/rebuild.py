"""What `asynchy catalogue rebuild` does: everything at home, compared with the facility.

ask the portal, list the experiments at the facility
walk the folders of the projects for places that hold data, whatever ignore.yml says and however
old the visit is; for whichever project they were fetched
list each experiment, compare size and time of every file
all there: record the copy as complete     something missing: it stays due, nothing is fetched
name what is at home and no longer at the facility
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Survey
from asynchy.domain.text import count, size
from asynchy.plan.experiment_state import ExperimentState, State, experiment_state
from asynchy.plan.outcome import Due, Left, Plan, Transfer, Why
from asynchy.plan.policy import Policy
from asynchy.service.ask import ask_visits
from asynchy.service.cycle_site import CycleSite
from asynchy.service.fitting import fitting
from asynchy.service.places_at_home import Place, holds_data, project_folders
from asynchy.service.planning import observe
from asynchy.service.reports import whose
from asynchy.service.work import Report, Work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rebuilt:
    """What came of it."""

    report: Report
    incomplete: tuple[Transfer, ...]
    """At home, but not all of it; the next cycle fetches what is missing."""
    skipped: tuple[Transfer, ...]
    """The same, but an entry of `ignore.yml` skips its EPN: nothing is fetched."""
    elsewhere: tuple[Transfer, ...]
    """The same, at the place of another project: nothing is fetched to there."""
    unreadable: tuple[Path, ...]
    """Folders of projects that are missing, empty or cannot be read: are they mounted?"""
    running: tuple[ExperimentState, ...]
    """At home, but not compared: a visit runs."""
    unmatched: tuple[Path, ...]
    """Folders at home of EPNs that are not at the facility: nothing can be compared."""


def rebuild(site: CycleSite) -> Rebuilt:
    """Compare everything at home with the facility, and record what is complete.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used, so that it is not known what it skips.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    now = site.clock.now()
    site.board.phase("asking the portal")
    answers = ask_visits(site, now)
    seen = observe(site, answers, {}, now)
    policy = replace(seen.policy, fetch_visible=True)
    states = [experiment_state(record, policy) for record in seen.records]
    site.board.phase("looking for what is at home")
    folders = list(project_folders(policy.rules))
    places = [place for folder in folders for place in folder.places if holds_data(place.path)]
    site.board.phase("comparing what is at home")
    transfers, left_out = fitting(site, _due(states, places, policy), site.settings.max_tasks)
    whole = [transfer for transfer in transfers if _is_whole(transfer.survey)]
    plan = Plan(
        transfers=tuple(whole),
        left_out=tuple(left_out),
        problems=tuple(answer.problem for answer in answers if answer.problem),
        unlisted=seen.unlisted,
    )
    report = Work(site, plan).run(site.settings.max_tasks)
    found = {transfer.copy.experiment for transfer in whole}
    partial = [transfer for transfer in transfers if transfer.copy.experiment not in found]
    for transfer in partial:
        log.warning(
            "%s: not complete in %s: %s (%s) missing or different",
            transfer.copy.epn,
            transfer.copy.destination,
            count(transfer.survey.missing_files, "file"),
            size(transfer.survey.missing_bytes),
        )
    ignored = whose(site.ignore.read(), site.catalogue, now)
    obeyed = replace(policy, ignored=ignored)
    skips = {
        record.experiment
        for record in seen.records
        if experiment_state(record, obeyed).state is State.SKIPPED
    }
    wanted = {item.wanted.destination for item in states if item.wanted is not None}
    here = [one for one in partial if one.copy.destination in wanted]
    visible = {item.record.epn for item in states if item.record.visible}
    at_home = {place.epn for place in places}
    return Rebuilt(
        report,
        incomplete=tuple(one for one in here if one.copy.experiment not in skips),
        skipped=tuple(one for one in here if one.copy.experiment in skips),
        elsewhere=tuple(one for one in partial if one not in here),
        unreadable=tuple(folder.path for folder in folders if not folder.is_there),
        running=tuple(
            item
            for item in states
            if item.state is State.WAITING and item.copy is None and item.record.epn in at_home
        ),
        unmatched=tuple(place.path for place in places if place.epn not in visible),
    )


def _due(
    states: Iterable[ExperimentState], places: Iterable[Place], policy: Policy
) -> Iterator[Due]:
    """What is to be compared: each experiment at each of its places that holds data."""
    by_epn: defaultdict[Epn, list[Place]] = defaultdict(list)
    for place in places:
        by_epn[place.epn].append(place)
    for item in states:
        for place in by_epn[item.record.epn]:
            copy = policy.rules.copy_of(item.record, place.project)
            is_open = item.state in (State.DUE, State.UNOWNED)
            is_free = item.left in (None, Left.UNMAPPED)
            if is_open and is_free and copy.destination == place.path:
                yield Due(copy, item.why or Why.NEW)


def _is_whole(survey: Survey) -> bool:
    return not survey.missing_files and not survey.missing_folders
