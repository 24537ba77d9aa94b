"""Visits: scheduled beam time, as the portal reports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from asynchy.model.epn import Epn
from asynchy.model.formatting import escaped, moment
from asynchy.model.person import Person

Booking = tuple[str, Epn, datetime, datetime]


@dataclass(frozen=True)
class Visit:
    """Beam time of one EPN on one piece of equipment. Both times are zone-aware."""

    id: str
    epn: Epn
    start: datetime
    end: datetime
    title: str = ""
    """The proposal's; empty if not reported."""
    principal: Person | None = None
    scientists: tuple[Person, ...] = ()

    @property
    def booking(self) -> Booking:
        """Id, EPN, start and end: equal in repeats of one visit.

        Title and people do not identify a visit, and may be edited.
        """
        return self.id, self.epn, self.start, self.end


def contradictions(visits: Iterable[Visit]) -> list[str]:
    """Visits that have one id and differ in EPN or time, as text for people."""
    by_id: dict[str, dict[Booking, None]] = {}
    for visit in visits:
        by_id.setdefault(visit.id, {})[visit.booking] = None
    return [
        f"visit {escaped(identity, limit=60)} is reported in {len(bookings)} versions: "
        + ", ".join(
            f"{epn} from {moment(start)} to {moment(end)}"
            for _, epn, start, end in list(bookings)[:3]
        )
        for identity, bookings in by_id.items()
        if len(bookings) > 1
    ]


def with_ids_apart(visits: Iterable[Visit]) -> tuple[Visit, ...]:
    """Visits of which those that contradict each other have ids of their own: `7`, `7 (2)`.

    Each may be the true one, so that all of them are known.
    """
    numbers: Counter[str] = Counter()
    result = []
    for visit in sorted(visits, key=lambda visit: (visit.epn.text, visit.start, visit.end)):
        numbers[visit.id] += 1
        number = numbers[visit.id]
        result.append(visit if number == 1 else replace(visit, id=f"{visit.id} ({number})"))
    return tuple(result)


@dataclass(frozen=True)
class Beamtime:
    """A visit and the beamline that it was on."""

    visit: Visit
    beamline: str
    asked: bool = True
    """Whether the portal is still asked about its equipment."""
    earlier: str | None = None
    """The beamline that was reported for it before; None: the same one."""


@dataclass(frozen=True)
class UnreadableVisit:
    """A visit in the portal's answer that could not be understood, and why.

    Where its EPN could be read, that EPN may have beam time that we do not know of.
    """

    epn: Epn | None
    reason: str
    id: str | None = None

    def __str__(self) -> str:
        if self.id is not None:
            epn = f" ({self.epn})" if self.epn else ""
            return f"visit {escaped(self.id, limit=60)}{epn}: {self.reason}"
        named = f"a visit of {self.epn}" if self.epn else "an entry of the answer"
        return f"{named}: {self.reason}"


@dataclass(frozen=True)
class EquipmentVisits:
    """The portal's answer for one `equipment` entry of the config."""

    equipment: int
    beamline: str
    visits: tuple[Visit, ...] = ()
    unreadable: tuple[UnreadableVisit, ...] = ()
    problem: str | None = None
    """Why not every running visit is known: the portal could not be asked, the answer may not be
    whole, or some of it cannot be read or contradicts itself. None if all is known."""
    since: datetime | None = None
    """It was asked for the visits from this time on, …"""
    until: datetime | None = None
    """… up to this one."""


def problems_of(answers: Iterable[EquipmentVisits]) -> tuple[str, ...]:
    """Why not every running visit is known; the same problem of several entries, once."""
    return tuple(dict.fromkeys(answer.problem for answer in answers if answer.problem))
