"""The portal's visits, stored in the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asynchy.domain.visit import EquipmentVisits, Visit
from asynchy.service.cycle_site import CycleSite


def store_visits(site: CycleSite, answers: Sequence[EquipmentVisits]) -> None:
    """Store the visits that the portal told of, if we write.

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
    site.catalogue.overview.keep_visits(told, site.clock.now())
