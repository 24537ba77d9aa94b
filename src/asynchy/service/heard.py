"""What the portal has told of one equipment entry so far, and for which time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from asynchy.config import EquipmentEntry
from asynchy.domain.visit import Beamtime, EquipmentVisits, UnreadableVisit, Visit
from asynchy.errors import PortalError
from asynchy.facility.portal import Credentials, Portal


@dataclass
class Heard:
    """The visits of one `equipment` entry between two times, or why they are not known."""

    entry: EquipmentEntry
    beamline: str
    since: datetime
    until: datetime
    visits: dict[str, Visit] = field(default_factory=dict)
    unreadable: dict[UnreadableVisit, None] = field(default_factory=dict)
    problem: str | None = None

    def reach_back(self, portal: Portal, since: datetime) -> None:
        """Ask for what is not known yet since a time.

        An entry that has failed is not asked further: what it told may have gaps.
        """
        if self.problem is not None or since >= self.since:
            return
        entry = self.entry
        credentials = Credentials(
            username=entry.username,
            password=entry.password.get_secret_value(),
            client_name=entry.client_name,
            client_password=entry.client_password.get_secret_value(),
        )
        try:
            answer = portal.visits(credentials, entry.id, since, self.since)
        except PortalError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.problem = f"equipment {entry.id}: {error}{hint}"
            return
        self.since = since
        self.visits |= {visit.id: visit for visit in answer.visits}
        self.unreadable |= dict.fromkeys(answer.unreadable)
        if answer.paging:
            self.problem = f"equipment {entry.id}: the answer hints at paging ({answer.paging})"

    def beamtimes(self) -> list[Beamtime]:
        """Its visits so far."""
        return [Beamtime(visit, self.beamline) for visit in self.visits.values()]

    def told(self) -> EquipmentVisits:
        """What the plan is made of."""
        return EquipmentVisits(
            equipment=self.entry.id,
            beamline=self.beamline,
            visits=tuple(self.visits.values()),
            unreadable=tuple(self.unreadable),
            problem=self.problem,
            since=self.since,
            until=self.until,
        )
