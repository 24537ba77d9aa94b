"""Visits: scheduled beam time, as the portal tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asynchy.domain.epn import Epn
from asynchy.domain.person import Person


@dataclass(frozen=True)
class Visit:
    """Beam time of one EPN on one piece of equipment. Both times are zone-aware."""

    id: str
    epn: Epn
    start: datetime
    end: datetime
    title: str = ""
    """The proposal's; empty where it is not told."""
    principal: Person | None = None
    scientists: tuple[Person, ...] = ()


@dataclass(frozen=True)
class Beamtime:
    """A visit and the beamline that it was on."""

    visit: Visit
    beamline: str


@dataclass(frozen=True)
class UnreadableVisit:
    """A visit in the portal's answer that could not be understood, and why.

    Where its EPN could be read, that EPN may have beam time that we do not know of.
    """

    epn: Epn | None
    reason: str


@dataclass(frozen=True)
class EquipmentVisits:
    """What the portal said of one `equipment` entry of the config."""

    equipment: int
    beamline: str
    visits: tuple[Visit, ...] = ()
    unreadable: tuple[UnreadableVisit, ...] = ()
    problem: str | None = None
    """Why the answer may not be whole; None where it is."""
    since: datetime | None = None
    """It was asked for the visits from this time on, …"""
    until: datetime | None = None
    """… up to this one."""
