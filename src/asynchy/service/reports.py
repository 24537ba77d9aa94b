"""What reports are made of: the catalogue's records of both sides, and what the config asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from asynchy.catalogue import Catalogue
from asynchy.config import Settings, Shared
from asynchy.config.ignore_file import IgnoreEntries, IgnoreFile
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.level import Level
from asynchy.errors import NothingKnown
from asynchy.plan.at_risk import Risks, at_risk
from asynchy.plan.experiment_state import ExperimentState, experiment_state
from asynchy.plan.overview import long_visits
from asynchy.plan.policy import (
    DestinationRules,
    IgnoreEntry,
    Policy,
    RecheckPolicy,
    owners_of,
    running_visits,
    unmounted_folders,
)
from asynchy.plan.reconcile import DeletionPolicy, Reconciled, reconcile
from asynchy.plan.safety import SafetyPolicy
from asynchy.service.means import means_of
from asynchy.service.presence import with_presence


def asked_level(settings: Shared) -> Level | None:
    """What must be proven of a copy, as the config asks; None: that it is complete is enough."""
    if settings.verify == "source":
        return Level.SOURCE
    return Level.SIZE if means_of(settings).looks else None


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
        original_beamline=settings.beamline,
    )


def ignore_entries(
    settings: Settings, catalogue: Catalogue, now: datetime
) -> dict[str, IgnoreEntry]:
    """The entries of `ignore.yml`, with whose they are; nothing is stored.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    return whose(IgnoreFile(settings.ignore).read(), catalogue, now)


def whose(
    found: IgnoreEntries, catalogue: Catalogue, now: datetime, *, store: bool = False
) -> dict[str, IgnoreEntry]:
    """The entries that were read, with whose they are; with `store`, that is noted.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    epns, ours = ({epn.text for epn in some} for some in (found.epns, found.ours))
    return catalogue.ignore_entries.compare(epns, now, ours, store=store)


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
    records = with_presence(catalogue.overview.records(epns, asked=settings.equipment_ids))
    ignored = whose(entries, catalogue, now)
    policy = policy_for_all(settings, records, ignored, now)
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
    records: Sequence[ExperimentRecord],
    ignored: Mapping[str, IgnoreEntry],
    now: datetime,
) -> Policy:
    """What decides on experiments in a cycle of mxsync; `records` are those of all experiments."""
    days = settings.recheck_after
    return Policy(
        now=now,
        rules=destination_rules(settings),
        running=running_visits((item for one in records for item in one.beamtimes), now),
        ignored=ignored,
        recheck=RecheckPolicy(now, timedelta(days=days)) if days else None,
        fetch_visible=settings.fetch_visible,
        original_beamline=settings.beamline,
        owners=owners_of(records),
        unmounted=unmounted_folders(records),
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
        f"The portal never told a visit of equipment {number}: is the id right?" for number in never
    ]
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
    found = with_presence(catalogue.overview.records(epns, asked=asked))
    unknown = set(epns) - {one.epn.text for one in found}
    if unknown:
        raise NothingKnown(
            f"{catalogue.path} does not know {', '.join(sorted(unknown))}",
            hint="`as-walker` finds what is new at the facility",
        )
    if not found:
        raise NothingKnown(
            f"{catalogue.path} knows no experiments",
            hint="`mxsync --execute` and `as-walker` find out what is at the facility",
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
    catalogue = Catalogue.peek(settings.catalogue_path)
    policy = safety_policy(settings, catalogue, level)
    found = known(catalogue) if records is None else records
    return at_risk(found, policy, settings.retention_days, now, everything=everything)


def reconciled(
    settings: Shared, level: Level, epns: Collection[str], now: datetime
) -> list[Reconciled]:
    """Both sides of the EPNs that are named, or of all, and what may be deleted at the facility.

    Raises:
        NothingKnown: the catalogue knows nothing, or not an EPN that was named.
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    catalogue = Catalogue.peek(settings.catalogue_path)
    policy, days, cycle = safety_policy(settings, catalogue, level), 0, None
    asked = settings.equipment_ids if isinstance(settings, Settings) else None
    records = known(catalogue, epns, asked)
    if isinstance(settings, Settings):
        days = settings.recheck_after
        cycle = policy_for_all(settings, records, policy.ignored, now)
        if epns:
            cycle = policy_for_some(settings, catalogue, records, cycle)
    terms = DeletionPolicy(
        policy=policy,
        level=level,
        recheck_after=timedelta(days=days),
        prove=lambda copy: catalogue.overview.evidence(copy, level),
        cycle=cycle,
    )
    return reconcile(records, terms, now)
