"""The portal's visits, stored in the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import UNREADABLE
from asynchy.model.visit import EquipmentVisits, Visit
from asynchy.runtime.cycle_context import CycleContext


def store_visits(context: CycleContext, answers: Sequence[EquipmentVisits]) -> None:
    """Store the visits that the portal reported, if we write.

    Who led a visit has to be known whosever it is; who else took part, of our projects alone. Of a
    visit that cannot be read, it is noted that its EPN was told: what is visible of it is due.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    if not context.catalogue.writing:
        return
    ours = context.settings.epn_cap_map

    def kept(visit: Visit) -> Visit:
        return visit if visit.epn.proposal in ours else replace(visit, scientists=())

    told = [replace(item, visits=tuple(map(kept, item.visits))) for item in answers]
    now = context.clock.now()
    context.catalogue.overview.keep_visits(told, now)
    unreadable = {
        Experiment(answer.beamline, visit.epn)
        for answer in answers
        for visit in answer.unreadable
        if visit.epn is not None
    }
    if unreadable:
        context.catalogue.notifications.note_told(unreadable, UNREADABLE, now)
