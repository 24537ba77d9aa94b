"""From all that is known and seen to the plan of one cycle."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from asynchy.catalogue.odd_rows import odd_rows
from asynchy.config.ignore_file import IgnoreEntries
from asynchy.errors import ExperimentAbsent, ListingError, ServerUnreachable
from asynchy.facility.discovery import DiscoveredExperiments, discover_in
from asynchy.facility.old_places import check_old_places
from asynchy.model.clock import is_wrong
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, experiment_state
from asynchy.model.formatting import count, size
from asynchy.model.observed import FolderSeen, observed
from asynchy.model.plan import Plan
from asynchy.model.plan_overview import long_visits
from asynchy.model.policy import IgnoreEntry, Origin, Policy
from asynchy.model.relocation import recognised
from asynchy.model.visit import EquipmentVisits, problems_of
from asynchy.repatriation.capacity import select_what_fits, unreachable_words
from asynchy.repatriation.due_rules import planned
from asynchy.repatriation.lost_state import warn_of_copied_entries
from asynchy.repatriation.visit_query import ask_visits
from asynchy.reporting.presence import with_presence
from asynchy.reporting.reports import ignore_entry_owners, policy_for_all
from asynchy.runtime.cycle_context import CycleContext
from asynchy.runtime.log_marks import IN_REPORT

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


def make_plan(context: CycleContext, entries: IgnoreEntries) -> Plan:
    """Ask, list and decide; no file is moved. `entries`: what `ignore.yml` says.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    now = context.clock.now()
    warn_of_copied_entries(context.ignore.path, entries, context.catalogue)
    context.board.phase("asking the portal")
    answers = ask_visits(context, now)
    corrected: tuple[str, ...] = ()
    if context.catalogue.writing and _clock_is_right(context):
        corrected = context.catalogue.correct_times(now)
    ignored = stored_entry_owners(context, entries, now)
    seen = observe_facility(context, answers, ignored, now)
    states = seen.states
    context.board.phase("listing what is due")
    decided = [item for item in map(planned, states) if item is not None]
    transfers, left_out = select_what_fits(
        context, decided, context.settings.max_tasks, told=seen.unlisted
    )
    odd = odd_rows(context.catalogue.path)
    plan = Plan(
        transfers=tuple(transfers),
        left_out=tuple(left_out),
        problems=problems_of(answers),
        unlisted=seen.unlisted,
        states=states,
        ignored=frozenset(
            epn for epn, entry in ignored.items() if entry.origin is not Origin.REMOVED
        ),
        notices=(
            *odd,
            *corrected,
            *long_visits(states, seen.policy, timedelta(days=context.settings.long_visit_days)),
        ),
        odd_rows=odd,
    )
    _log(plan)
    return plan


def observe_facility(
    context: CycleContext,
    answers: Sequence[EquipmentVisits],
    ignored: dict[str, IgnoreEntry],
    now: datetime,
) -> Observation:
    """Look at the facility and at home, and add it to what was known; stored, if we write.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    context.board.phase("listing the experiments at the facility")
    folders, unlisted = _folders(context, now)
    known = context.catalogue.overview.records(
        answers=answers, asked=context.settings.equipment_ids
    )
    records = with_presence(observed(known, folders, now))
    policy = policy_for_all(context.settings, context.catalogue, records, ignored, now)
    policy = replace(policy, clock_is_right=_clock_is_right(context))
    return Observation(tuple(records), tuple(answers), policy, tuple(unlisted))


def stored_entry_owners(
    context: CycleContext, entries: IgnoreEntries, now: datetime, *, first: bool = True
) -> dict[str, IgnoreEntry]:
    """The entries of `ignore.yml` with whose they are; that is noted, if we write and may.

    By a clock that is known to be wrong, it is not known since when an entry is there, or gone: the
    portal has to have been asked. `first`: what is read may be noted as the first that was read.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    store = context.catalogue.writing and first and not is_wrong(context.portal.clock_offset)
    return ignore_entry_owners(entries, context.settings, context.catalogue, now, store=store)


def _clock_is_right(context: CycleContext) -> bool:
    """Whether the portal has told its time, and it is ours."""
    offset = context.portal.clock_offset
    return offset is not None and not is_wrong(offset)


def _folders(context: CycleContext, now: datetime) -> tuple[list[FolderSeen], list[str]]:
    """The folders of experiments at the facility, and those that could not be listed."""
    listed: dict[str, DiscoveredExperiments] = {}
    unlisted: list[str] = []
    for folder, beamline in context.settings.source_folders.items():
        try:
            listed[folder] = discover_in(context.session, folder, beamline, context.stop)
        except ExperimentAbsent:
            unlisted.append(
                f"SFTP service: {folder} is not at the facility: check `source-path` and `beamline`"
                f"{_NO_DATA_YET}"
            )
        except ServerUnreachable as error:  # it holds the other folders, too
            unlisted.append(unreachable_words(error))
            break
        except ListingError as error:
            hint = f" ({error.hint})" if error.hint else ""
            where = "" if str(error).startswith(folder) else f", {folder}"
            unlisted.append(f"SFTP service{where}: {error}{hint}")
    for seen in listed.values():
        unlisted += [f"{path}: {why}" for path, why in seen.unlisted.items()]
        for link in seen.broken:
            log.error("%s", link)
    found = _by_known_names(context, listed)
    if context.catalogue.writing:
        for folder_seen in found:
            context.catalogue.see(folder_seen, now)
    return found, unlisted


_NO_DATA_YET = "; if the beamline has no data yet, take its equipment out of the config until then"


def _by_known_names(
    context: CycleContext, listed: Mapping[str, DiscoveredExperiments]
) -> list[FolderSeen]:
    """The folders, with the names under which their experiments are known."""
    located = recognised(
        (one for seen in listed.values() for one in seen.experiments),
        context.catalogue.known_folders(),
        lambda paths: check_old_places(context.session, paths, context.stop),
        context.catalogue.overview.moved_visits(),
    )
    found, at = [], 0
    for folder, seen in listed.items():
        end = at + len(seen.experiments)
        other = frozenset(seen.other.values())
        found.append(FolderSeen(folder, tuple(located[at:end]), seen.broken, other))
        at = end
    return found


def _log(plan: Plan) -> None:
    log.info(
        "plan: %s to transfer (%s to write), %d left out",
        count(len(plan.transfers), "experiment"),
        size(sum(transfer.listing_diff.missing_bytes for transfer in plan.transfers)),
        len(plan.left_out),
    )
    for folder in plan.unlisted:
        log.error("%s", folder, extra=IN_REPORT)
    for notice in plan.notices:
        log.warning("%s", notice)
