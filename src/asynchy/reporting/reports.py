"""What reports are made of: the catalogue's records of both sides, and what the config asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asynchy.catalogue import Catalogue
from asynchy.catalogue.odd_rows import odd_rows
from asynchy.config import Settings, Shared
from asynchy.config.ignore_file import IgnoreEntries, IgnoreFile
from asynchy.engines.options import transfer_options_of
from asynchy.errors import NothingKnown
from asynchy.localfs.free_space import free_space
from asynchy.model.copy_record import CopyRecord
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, experiment_state
from asynchy.model.formatting import moment
from asynchy.model.plan_overview import long_visits, without_visible
from asynchy.model.policy import (
    DestinationRules,
    IgnoreEntry,
    Policy,
    RecheckPolicy,
    owners_of,
    running_visits,
    unmounted_folders,
)
from asynchy.model.safety import DeletionEvidence, SafetyPolicy
from asynchy.model.verification import Level
from asynchy.reporting.activity import rate_of
from asynchy.reporting.at_risk import Risks, at_risk
from asynchy.reporting.presence import (
    count_absent,
    count_lost_links,
    filled_places,
    with_presence,
)
from asynchy.reporting.reconcile import DeletionPolicy, Reconciled, reconcile

_LOOKED_FOR = 100
"""Files of each copy that are looked for at home before the facility's are called deletable."""
_RECENT = timedelta(days=28)
_DELAY = timedelta(hours=3)
"""By how much a cycle may be late: the portal is asked once in each."""


def asked_level(settings: Shared) -> Level | None:
    """What must be proven of a copy, as the config asks; None: that it is complete is enough."""
    if settings.verify == "source":
        return Level.SOURCE
    return Level.SIZE if transfer_options_of(settings).looks else None


def safety_policy(settings: Shared, catalogue: Catalogue, level: Level | None) -> SafetyPolicy:
    """What must hold of a copy, with that level of proof.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    policy = SafetyPolicy(level)
    if not isinstance(settings, Settings):
        return policy
    ignored = ignore_entries(settings, catalogue, datetime.now(UTC))
    return replace(
        policy,
        epn_cap_map=settings.epn_cap_map,
        ignored=ignored,
        original_beamline=catalogue.ignore_entries.original_beamline(settings.beamline),
    )


def ignore_entries(
    settings: Settings, catalogue: Catalogue, now: datetime
) -> dict[str, IgnoreEntry]:
    """The entries of `ignore.yml`, with whose they are; nothing is stored.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    return ignore_entry_owners(IgnoreFile(settings.ignore).read(), settings, catalogue, now)


def ignore_entry_owners(
    found: IgnoreEntries,
    settings: Settings,
    catalogue: Catalogue,
    now: datetime,
    *,
    store: bool = False,
) -> dict[str, IgnoreEntry]:
    """The entries that were read, with whose they are; with `store`, that is noted.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    return catalogue.ignore_entries.compare(
        found.said, now, store=store, beamline=settings.beamline
    )


def destination_rules(settings: Settings) -> DestinationRules:
    """What the config says of where experiments are and where their copies go."""
    return DestinationRules(
        epn_cap_map=settings.epn_cap_map,
        source_path=settings.source_path,
        destination_root=settings.destination_root_path,
        destination_path=settings.destination_path,
    )


def states(
    settings: Settings,
    catalogue: Catalogue,
    entries: IgnoreEntries,
    now: datetime,
    epns: Collection[str] = (),
) -> tuple[list[ExperimentState], Policy]:
    """The states of experiments, from the catalogue and from what is at home alone.

    `entries`: what `ignore.yml` says.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    records = with_presence(
        catalogue.overview.records(epns, asked=settings.equipment_ids),
        catalogue.overview.places_below,
    )
    ignored = ignore_entry_owners(entries, settings, catalogue, now)
    policy = policy_for_all(settings, catalogue, records, ignored, now)
    if epns:
        policy = policy_for_some(settings, catalogue, records, policy)
    return [experiment_state(record, policy) for record in records], policy


def policy_for_some(
    settings: Settings,
    catalogue: Catalogue,
    records: Sequence[ExperimentRecord],
    policy: Policy,
) -> Policy:
    """The policy if `records` are not those of all experiments: the visits of all others count.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    return replace(
        policy,
        running=running_visits(catalogue.overview.visits(settings.equipment_ids), policy.now),
        owners=catalogue.overview.owners_of(map(policy.rules.place_of, records)),
    )


def policy_for_all(
    settings: Settings,
    catalogue: Catalogue,
    records: Sequence[ExperimentRecord],
    ignored: Mapping[str, IgnoreEntry],
    now: datetime,
) -> Policy:
    """What decides on experiments in a cycle of mxsync; `records` are those of all experiments.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    days, rules = settings.recheck_after, destination_rules(settings)
    return Policy(
        now=now,
        rules=rules,
        running=running_visits((item for one in records for item in one.beamtimes), now),
        ignored=ignored,
        recheck=RecheckPolicy(now, timedelta(days=days)) if days else None,
        fetch_visible=settings.fetch_visible,
        original_beamline=catalogue.ignore_entries.original_beamline(settings.beamline),
        owners=owners_of(records),
        unmounted=unmounted_folders(records),
        filled=filled_places(records, rules),
    )


def notices(
    settings: Settings, catalogue: Catalogue, found: Sequence[ExperimentState], policy: Policy
) -> list[str]:
    """What people should know besides the states of experiments, a sentence each.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    never = catalogue.overview.never_visited([entry.id for entry in settings.equipment])
    said = [
        f"The portal never reported a visit of equipment {number}: is the id right?"
        for number in never
    ]
    said += without_visible(found, settings.source_folders)
    said += odd_rows(catalogue.address)
    return [*long_visits(found, policy, timedelta(days=settings.long_visit_days)), *said]


def known(
    catalogue: Catalogue, epns: Collection[str] = (), asked: Collection[int] | None = None
) -> list[ExperimentRecord]:
    """The experiments that the catalogue knows: those of the EPNs that are named; none: all.

    `asked`: the equipment that the portal is asked about; None: all of it.

    Raises:
        NothingKnown: it knows nothing, or not an EPN that was named.
        CatalogueError: the catalogue cannot be used.
    """
    found = with_presence(
        catalogue.overview.records(epns, asked=asked), catalogue.overview.places_below
    )
    unknown = set(epns) - {one.epn.text for one in found}
    if unknown:
        raise NothingKnown(
            f"{catalogue.address} does not know {', '.join(sorted(unknown))}",
            hint="`asynchy walk` finds what is new at the facility",
        )
    if not found:
        raise NothingKnown(
            f"{catalogue.address} knows no experiments",
            hint="`mxsync --execute` and `asynchy walk` find out what is at the facility",
        )
    return found


def risks(
    settings: Shared,
    level: Level | None,
    now: datetime,
    records: Sequence[ExperimentRecord] | None = None,
    *,
    everything: bool = False,
) -> Risks:
    """What is not at home, with that level of proof, before the facility deletes it.

    `records`: those of the catalogue, if they were read already.

    Raises:
        NothingKnown: the catalogue knows nothing.
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    policy = safety_policy(settings, catalogue, level)
    found = known(catalogue) if records is None else records
    return at_risk(found, policy, settings.retention_days, now, everything=everything)


def visits_unknown(
    answered: Mapping[int, datetime],
    equipment: Collection[int],
    now: datetime,
    between: timedelta,
) -> str | None:
    """Why not every visit up to now is known, for people; None: each is.

    `answered`: by equipment, the end of the last span for which the portal answered completely.
    `between`: the time from one cycle to the next.
    """
    never = sorted(set(equipment) - answered.keys())
    if never:
        return f"visits are not known: the portal never answered for equipment {never[0]}"
    since, number = min(((answered[one], one) for one in equipment), default=(now, 0))
    if now - since <= between + _DELAY:
        return None
    return (
        f"visits since {moment(since)} are not known: the portal has not answered completely for "
        f"equipment {number} (`mxsync --execute` asks it)"
    )


def reconciled(
    settings: Shared, level: Level, epns: Collection[str], now: datetime
) -> list[Reconciled]:
    """Both sides of the EPNs that are named, or of all, and what may be deleted at the facility.

    Raises:
        NothingKnown: the catalogue knows nothing, or not an EPN that was named.
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    policy, days, cycle = safety_policy(settings, catalogue, level), 0, None
    unknown_visits = None
    asked = settings.equipment_ids if isinstance(settings, Settings) else None
    records = known(catalogue, epns, asked)
    if isinstance(settings, Settings):
        days = settings.recheck_after
        cycle = policy_for_all(settings, catalogue, records, policy.ignored, now)
        if epns:
            cycle = policy_for_some(settings, catalogue, records, cycle)
        answered = catalogue.overview.answered_until()
        unknown_visits = visits_unknown(
            answered,
            settings.equipment_ids,
            now,
            timedelta(hours=settings.sync_frequency_hours),
        )
    terms = DeletionPolicy(
        policy=policy,
        level=level,
        recheck_after=timedelta(days=days),
        accept_left_out=settings.accept_left_out,
        prove=lambda copy: _evidence(catalogue, copy, level),
        cycle=cycle,
        unknown_visits=unknown_visits,
    )
    return reconcile(records, terms, now)


def recent_rate(catalogue: Catalogue, now: datetime) -> float | None:
    """Bytes a second while transfers ran in the last four weeks; None: nothing came home.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    return rate_of([one.attempt for one in catalogue.history.attempts(now - _RECENT, now)])


def free_at(folder: Path) -> tuple[int, int | None] | None:
    """The device of a folder and the bytes that may still be written there; None: not there."""
    try:
        return folder.stat().st_dev, free_space(folder).bytes
    except OSError:
        return None


def _evidence(catalogue: Catalogue, copy: CopyRecord, level: Level) -> DeletionEvidence:
    """What is known of each file of a copy, and whether some of them, and links, are at home."""
    files = catalogue.overview.some_files(copy, _LOOKED_FOR)
    proof = catalogue.overview.evidence(copy, level)
    return replace(
        proof,
        looked_for=len(files),
        absent=count_absent(copy, files),
        absent_links=count_lost_links(copy, catalogue.held_others(copy.id), _LOOKED_FOR),
    )
