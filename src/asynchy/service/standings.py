"""What reports are made of: the catalogue's knowledge of both sides, and what the config asks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from asynchy.catalogue.alerts import Alerts
from asynchy.catalogue.standings import Standings
from asynchy.config import Settings, Shared
from asynchy.config.ignore_file import IgnoreFile
from asynchy.domain.level import Level
from asynchy.domain.visit import Beamtime, EquipmentVisits, Visit
from asynchy.errors import NothingKnown
from asynchy.plan.at_risk import Risks, at_risk
from asynchy.plan.reconcile import Reconciled, Terms, reconcile
from asynchy.plan.standing import Asked, Standing, standings
from asynchy.service.cycle_site import CycleSite
from asynchy.service.site import means_of


def asked_level(settings: Shared) -> Level | None:
    """What must be proven of a copy, as the config asks; None: that it is complete is enough."""
    if settings.verify == "source":
        return Level.SOURCE
    return Level.SIZE if means_of(settings).looks else None


def asked_by(settings: Shared, level: Level | None) -> Asked:
    """What must hold of a copy, with that level of proof.

    Raises:
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    asked = Asked(level)
    if not isinstance(settings, Settings):
        return asked
    due = {item.epn.text: item.reason for item in Alerts.peek(settings.catalogue_path).due()}
    ignored = frozenset(epn.text for epn in IgnoreFile(settings.ignore).read().epns)
    return replace(asked, epn_cap_map=settings.epn_cap_map, ignored=ignored, due=due)


def hear(site: CycleSite, answers: Sequence[EquipmentVisits]) -> None:
    """Store the visits that the portal told of, where we write.

    Who led a visit has to be known whosever it is; who else took part, of our projects alone.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    if not site.catalogue.writing:
        return
    ours = site.settings.epn_cap_map

    def kept(visit: Visit) -> Visit:
        return visit if visit.epn.proposal in ours else replace(visit, scientists=())

    told = [replace(item, visits=tuple(map(kept, item.visits))) for item in answers]
    Standings.open(site.catalogue.path).hear(told, site.clock.now())


def known(
    path: Path, answers: Iterable[EquipmentVisits] = (), epns: Collection[str] = ()
) -> list[Standing]:
    """What a catalogue, and answers of the portal that it may not know yet, tell of experiments.

    Those of the EPNs that are named; none: all.

    Raises:
        NothingKnown: it knows nothing, or not an EPN that was named.
        CatalogueError: the catalogue cannot be used.
    """
    catalogue = Standings.peek(path)
    beamtimes = catalogue.beamtimes()
    for answer in answers:
        for visit in answer.visits:
            beamtimes[answer.equipment, visit.id] = Beamtime(visit, answer.beamline)
    found = standings(catalogue.seen(), beamtimes.values())
    if not found:
        raise NothingKnown(
            f"{path} knows no experiments",
            hint="`mxsync --execute` and `as-walker` find out what is at the facility",
        )
    unknown = set(epns) - {one.epn.text for one in found}
    if unknown:
        raise NothingKnown(
            f"{path} does not know {', '.join(sorted(unknown))}",
            hint="`as-walker` finds what is new at the facility",
        )
    return [one for one in found if not epns or one.epn.text in epns]


def risks(
    settings: Shared,
    level: Level | None,
    now: datetime,
    answers: Iterable[EquipmentVisits] = (),
    *,
    everything: bool = False,
) -> Risks:
    """What is not at home, with that level of proof, before the facility deletes it.

    Raises:
        NothingKnown: the catalogue knows nothing.
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    asked = asked_by(settings, level)
    found = known(settings.catalogue_path, answers)
    return at_risk(found, asked, settings.retention_days, now, everything=everything)


def reconciled(
    settings: Shared, level: Level, epns: Collection[str], now: datetime
) -> list[Reconciled]:
    """Both sides of the EPNs that are named, or of all, and what may be deleted at the facility.

    Raises:
        NothingKnown: the catalogue knows nothing, or not an EPN that was named.
        IgnoreListError: `ignore.yml` cannot be used.
        CatalogueError: the catalogue cannot be used.
    """
    catalogue = Standings.peek(settings.catalogue_path)
    days = settings.recheck_after if isinstance(settings, Settings) else 0
    terms = Terms(
        asked=asked_by(settings, level),
        level=level,
        recheck_after=timedelta(days=days),
        is_there=Path.is_dir,
        prove=lambda copy: catalogue.proof(copy, level),
    )
    return reconcile(known(settings.catalogue_path, epns=epns), terms, now)
