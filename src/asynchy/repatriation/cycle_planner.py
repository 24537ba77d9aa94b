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
    """The facts about all experiments, after the portal and the facility were asked."""

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
    """Ask, list and decide; no file is moved. `entries`: those of `ignore.yml`.

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
    observation = observe_facility(context, answers, ignored, now)
    states = observation.states
    context.board.phase("listing what is due")
    decided = [item for item in map(planned, states) if item is not None]
    transfers, left_out = select_what_fits(
        context, decided, context.settings.max_tasks, logged=observation.unlisted
    )
    odd_row_notices = odd_rows(context.catalogue.address)
    plan = Plan(
        transfers=tuple(transfers),
        left_out=tuple(left_out),
        problems=problems_of(answers),
        unlisted=observation.unlisted,
        states=states,
        ignored=frozenset(
            epn for epn, entry in ignored.items() if entry.origin is not Origin.REMOVED
        ),
        notices=(
            *odd_row_notices,
            *corrected,
            *long_visits(
                states, observation.policy, timedelta(days=context.settings.long_visit_days)
            ),
        ),
        odd_rows=odd_row_notices,
    )
    _log(plan)
    return plan


def observe_facility(
    context: CycleContext,
    answers: Sequence[EquipmentVisits],
    ignored: dict[str, IgnoreEntry],
    now: datetime,
) -> Observation:
    """Look at the facility and at home; add the results to the known facts, and store them.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    context.board.phase("listing the experiments at the facility")
    folders, unlisted = _folders(context, now)
    records_before = context.catalogue.overview.records(
        answers=answers, asked=context.settings.equipment_ids
    )
    records = with_presence(observed(records_before, folders, now))
    policy = policy_for_all(context.settings, context.catalogue, records, ignored, now)
    policy = replace(policy, clock_is_right=_clock_is_right(context))
    return Observation(tuple(records), tuple(answers), policy, tuple(unlisted))


def stored_entry_owners(
    context: CycleContext, entries: IgnoreEntries, now: datetime, *, may_be_first: bool = True
) -> dict[str, IgnoreEntry]:
    """The entries of `ignore.yml` with their origin, which is stored if we write.

    With a wrong clock, it is not known since when an entry exists, or is gone: so the portal must
    have been asked. `may_be_first`: this content may be stored as the first that was read.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    store = context.catalogue.writing and may_be_first and not is_wrong(context.portal.clock_offset)
    return ignore_entry_owners(entries, context.settings, context.catalogue, now, store=store)


def _clock_is_right(context: CycleContext) -> bool:
    """Whether the portal has sent its time, and it agrees with ours."""
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
            place = "" if str(error).startswith(folder) else f", {folder}"
            unlisted.append(f"SFTP service{place}: {error}{hint}")
    for discovered in listed.values():
        unlisted += [f"{path}: {reason}" for path, reason in discovered.unlisted.items()]
        for link in discovered.broken:
            log.error("%s", link)
    folders_seen = _by_known_names(context, listed)
    if context.catalogue.writing:
        for folder_seen in folders_seen:
            context.catalogue.see(folder_seen, now)
    return folders_seen, unlisted


_NO_DATA_YET = "; if the beamline has no data yet, take its equipment out of the config until then"


def _by_known_names(
    context: CycleContext, listed: Mapping[str, DiscoveredExperiments]
) -> list[FolderSeen]:
    """The folders, with the names under which their experiments are known."""
    located = recognised(
        (item for discovered in listed.values() for item in discovered.experiments),
        context.catalogue.known_folders(),
        lambda paths: check_old_places(context.session, paths, context.stop),
        context.catalogue.overview.moved_visits(),
    )
    folders_seen, start = [], 0
    for folder, discovered in listed.items():
        end = start + len(discovered.experiments)
        other_epns = frozenset(discovered.other.values())
        folders_seen.append(
            FolderSeen(folder, tuple(located[start:end]), discovered.broken, other_epns)
        )
        start = end
    return folders_seen


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
