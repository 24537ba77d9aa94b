"""What `asynchy catalogue rebuild` does: everything at home, compared with the facility.

ask the portal, list the experiments at the facility
take each experiment of ours whose place at home holds data, whatever ignore.yml says and
however old its visit is
list it, compare size and time of every file
all there: record the copy as complete     something missing: it stays due, nothing is fetched
name what is at home and no longer at the facility
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Survey
from asynchy.domain.text import count, shown, size
from asynchy.plan.decide import planned
from asynchy.plan.experiment_state import ExperimentState, State, experiment_state
from asynchy.plan.outcome import Plan, Transfer
from asynchy.service.ask import ask_visits
from asynchy.service.cycle_site import CycleSite
from asynchy.service.fitting import fitting
from asynchy.service.lost_state import holds_data
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
    site.board.phase("comparing what is at home")
    decided = [item for item in map(planned, _at_home(states)) if item is not None]
    transfers, left_out = fitting(site, decided, site.settings.max_tasks)
    whole = [transfer for transfer in transfers if _is_whole(transfer.survey)]
    plan = Plan(
        transfers=tuple(whole),
        left_out=tuple(left_out),
        problems=tuple(answer.problem for answer in answers if answer.problem),
        unlisted=seen.unlisted,
    )
    report = Work(site, plan).run(site.settings.max_tasks)
    partial = [transfer for transfer in transfers if not _is_whole(transfer.survey)]
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
    visible = {item.record.epn for item in states if item.record.visible}
    return Rebuilt(
        report,
        incomplete=tuple(one for one in partial if one.copy.experiment not in skips),
        skipped=tuple(one for one in partial if one.copy.experiment in skips),
        unreadable=tuple(_unreadable(site)),
        running=tuple(_running(states)),
        unmatched=tuple(_unmatched(site, visible)),
    )


def _running(states: Iterable[ExperimentState]) -> Iterator[ExperimentState]:
    """What holds data at home and is still being written at the facility."""
    for item in states:
        waits = item.state is State.WAITING and item.wanted is not None
        if waits and item.copy is None and holds_data(item.wanted.destination):  # type: ignore[union-attr]
            yield item


def _unreadable(site: CycleSite) -> Iterator[Path]:
    """The folders of projects in which there is nothing, or nothing can be seen."""
    for project in sorted(set(site.settings.epn_cap_map.values())):
        folder = site.settings.destination_root_path / project
        try:
            if next(folder.iterdir(), None) is None:
                yield folder
        except OSError:
            yield folder


def _at_home(states: Iterable[ExperimentState]) -> list[ExperimentState]:
    """The experiments whose place holds data, and that are not known to be complete."""
    found = []
    for item in states:
        if item.wanted is None or item.state not in (State.DUE, State.OUTSIDE):
            continue
        if item.left is None and holds_data(item.wanted.destination):
            found.append(item)
    return found


def _is_whole(survey: Survey) -> bool:
    return not survey.missing_files and not survey.missing_folders


def _unmatched(site: CycleSite, visible: set[Epn]) -> list[Path]:
    """The folders of EPNs at home, in the projects of the config, that are not at the facility."""
    found = []
    for project in sorted(set(site.settings.epn_cap_map.values())):
        folder = site.settings.destination_root_path / project
        try:
            below = sorted(folder.iterdir())
        except OSError as error:
            log.warning("%s cannot be read: %s", shown(str(folder)), error.strerror)
            continue
        for path in below:
            epn = Epn.parse(path.name)
            if epn is not None and epn not in visible and holds_data(path):
                found.append(path)
    return found
