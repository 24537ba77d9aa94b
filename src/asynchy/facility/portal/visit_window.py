"""The visits that the portal has reported for one equipment entry so far, and for which time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from asynchy.config import EquipmentEntry
from asynchy.errors import PortalError
from asynchy.facility.portal import Credentials, Portal
from asynchy.model.visit import (
    Beamtime,
    Booking,
    EquipmentVisits,
    UnreadableVisit,
    Visit,
    contradictions,
    with_ids_apart,
)

MAX_NAMED = 3
"""Visits that a problem names; a mail with hundreds of them would not be read."""


@dataclass
class VisitWindow:
    """The visits of one `equipment` entry between two times, or why they are not known."""

    entry: EquipmentEntry
    beamline: str
    since: datetime
    until: datetime
    visits: dict[Booking, Visit] = field(default_factory=dict)
    unreadable: dict[UnreadableVisit, None] = field(default_factory=dict)
    failure: str | None = None
    """Why it could not be asked, or not completely."""
    fault: str | None = None
    """The same without the details of this entry: equal in entries that fail for one cause."""
    also: tuple[int, ...] = ()
    """The other equipment that failed for the same cause."""

    def reach_back(self, portal: Portal, since: datetime) -> None:
        """Ask for the visits since a time that are not known yet.

        An entry that has failed is not asked further: its answer may have gaps.
        """
        if self.failure is not None or since >= self.since:
            return
        entry = self.entry
        try:
            answer = portal.visits(credentials_of(entry), entry.id, since, self.since)
        except PortalError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.failure, self.fault = f"{error}{hint}", error.cause
            return
        self.since = since
        self.visits |= {visit.booking: visit for visit in answer.visits}
        self.unreadable |= dict.fromkeys(answer.unreadable)
        if answer.paging:
            self.failure = f"the answer hints at paging ({answer.paging})"

    @property
    def _failed(self) -> str | None:
        if self.failure is None:
            return None
        numbers = ", ".join(str(number) for number in sorted({self.entry.id, *self.also}))
        return f"equipment {numbers}: {self.failure}"

    @property
    def problem(self) -> str | None:
        """Why not every running visit is known; None if all are."""
        doubts = self.doubts
        if not doubts:
            return self._failed
        more = f"; and {len(doubts) - MAX_NAMED} more" if len(doubts) > MAX_NAMED else ""
        problem = (
            f"equipment {self.entry.id}: not every running visit is known:"
            f" {'; '.join(doubts[:MAX_NAMED])}{more} (report it to the facility)"
        )
        return f"{self._failed}; {problem}" if self.failure else problem

    @property
    def doubts(self) -> list[str]:
        """The visits that cannot be read, and those that contradict each other, as text for people.

        Any of them may be running, and of any EPN.
        """
        return [*map(str, self.unreadable), *contradictions(self.visits.values())]

    def beamtimes(self) -> list[Beamtime]:
        """Its visits so far."""
        return [Beamtime(visit, self.beamline) for visit in self.visits.values()]

    def as_answer(self) -> EquipmentVisits:
        """The answer, from which the plan is made."""
        return EquipmentVisits(
            equipment=self.entry.id,
            beamline=self.beamline,
            visits=with_ids_apart(self.visits.values()),
            unreadable=tuple(self.unreadable),
            problem=self.problem,
            since=self.since,
            until=self.until,
        )


def credentials_of(entry: EquipmentEntry) -> Credentials:
    """The login for the visits of an equipment entry."""
    return Credentials(
        username=entry.username,
        password=entry.password.get_secret_value(),
        client_name=entry.client_name,
        client_password=entry.client_password.get_secret_value(),
    )
