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

    The principal scientist is stored for every visit; other people only for our projects. Of a
    visit that cannot be read, the EPN is stored as reported: it is due if it is visible.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    if not context.catalogue.writing:
        return
    own_proposals = context.settings.epn_cap_map

    def stored(visit: Visit) -> Visit:
        return visit if visit.epn.proposal in own_proposals else replace(visit, scientists=())

    reported = [replace(item, visits=tuple(map(stored, item.visits))) for item in answers]
    now = context.clock.now()
    context.catalogue.overview.keep_visits(reported, now)
    unreadable = {
        Experiment(answer.beamline, visit.epn)
        for answer in answers
        for visit in answer.unreadable
        if visit.epn is not None
    }
    if unreadable:
        context.catalogue.notifications.note_told(unreadable, UNREADABLE, now)
