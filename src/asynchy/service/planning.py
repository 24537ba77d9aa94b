"""From all that is known and seen to the plan of one cycle."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asynchy.config.ignore_file import IgnoreEntries
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.text import count, size
from asynchy.domain.visit import EquipmentVisits
from asynchy.errors import ExperimentAbsent, ListingError, ServerUnreachable
from asynchy.facility.visible import visible_in
from asynchy.plan.decide import planned
from asynchy.plan.experiment_state import ExperimentState, experiment_state
from asynchy.plan.observed import FolderSeen, observed
from asynchy.plan.outcome import Plan
from asynchy.plan.overview import long_visits
from asynchy.plan.policy import IgnoreEntry, Origin, Policy
from asynchy.service.ask import ask_visits
from asynchy.service.cycle_site import CycleSite
from asynchy.service.fitting import fitting, unreachable_words
from asynchy.service.presence import with_presence
from asynchy.service.reports import policy_for_all, whose

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observation:
    """What is known of all experiments after the portal and the facility were asked."""

    records: tuple[ExperimentRecord, ...]
    answers: tuple[EquipmentVisits, ...]
    policy: Policy
    unlisted: tuple[str, ...]
    """Folders of experiments that could not be listed, with the reason."""

    @property
    def states(self) -> tuple[ExperimentState, ...]:
        """The state of every experiment, in order of EPN."""
        return tuple(experiment_state(record, self.policy) for record in self.records)


def make_plan(site: CycleSite, entries: IgnoreEntries) -> Plan:
    """Ask, list and decide; no file is moved. `entries`: what `ignore.yml` says.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    now = site.clock.now()
    ignored = whose(entries, site.catalogue, now, store=site.catalogue.writing)
    site.board.phase("asking the portal")
    answers = ask_visits(site, now)
    seen = observe(site, answers, ignored, now)
    states = seen.states
    site.board.phase("listing what is due")
    decided = [item for item in map(planned, states) if item is not None]
    transfers, left_out = fitting(site, decided, site.settings.max_tasks, told=seen.unlisted)
    plan = Plan(
        transfers=tuple(transfers),
        left_out=tuple(left_out),
        problems=tuple(answer.problem for answer in answers if answer.problem),
        unlisted=seen.unlisted,
        states=states,
        ignored=frozenset(
            epn for epn, entry in ignored.items() if entry.origin is not Origin.REMOVED
        ),
        notices=long_visits(states, seen.policy, timedelta(days=site.settings.long_visit_days)),
    )
    _log(plan)
    return plan


def observe(
    site: CycleSite,
    answers: Sequence[EquipmentVisits],
    ignored: dict[str, IgnoreEntry],
    now: datetime,
) -> Observation:
    """Look at the facility and at home, and add it to what was known; stored, if we write.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    site.board.phase("listing the experiments at the facility")
    folders, unlisted = _folders(site, now)
    known = site.catalogue.overview.records(answers=answers, asked=site.settings.equipment_ids)
    records = with_presence(observed(known, folders, now))
    policy = policy_for_all(site.settings, records, ignored, now)
    return Observation(tuple(records), tuple(answers), policy, tuple(unlisted))


def _folders(site: CycleSite, now: datetime) -> tuple[list[FolderSeen], list[str]]:
    """The folders of experiments at the facility, and those that could not be listed."""
    found, unlisted = [], []
    for folder, beamline in site.settings.source_folders.items():
        try:
            seen = visible_in(site.remote, folder, beamline, site.stop)
        except ExperimentAbsent:
            said = f"{folder} is not at the facility: check `source-path` and `beamline`"
            if site.catalogue.overview.is_known(folder):  # it was there before
                unlisted.append(f"SFTP service: {said}")
            else:
                log.warning("%s", said)
            continue
        except ServerUnreachable as error:  # it holds the other folders, too
            unlisted.append(unreachable_words(error))
            break
        except ListingError as error:
            hint = f" ({error.hint})" if error.hint else ""
            where = "" if str(error).startswith(folder) else f", {folder}"
            unlisted.append(f"SFTP service{where}: {error}{hint}")
            continue
        unlisted += [f"{path}: {why}" for path, why in seen.unlisted.items()]
        for link in seen.broken:
            log.error("%s", link)
        other = frozenset(seen.other.values())
        found.append(FolderSeen(folder, seen.experiments, seen.broken, other))
        if site.catalogue.writing:
            site.catalogue.see(found[-1], now)
    return found, unlisted


def _log(plan: Plan) -> None:
    log.info(
        "plan: %s to transfer (%s to write), %d left out",
        count(len(plan.transfers), "experiment"),
        size(sum(transfer.survey.missing_bytes for transfer in plan.transfers)),
        len(plan.left_out),
    )
    for folder in plan.unlisted:
        log.error("%s", folder)
    for notice in plan.notices:
        log.warning("%s", notice)
