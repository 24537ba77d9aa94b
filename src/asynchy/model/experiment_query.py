"""Which experiments of a list a person wants to see, in which order."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class ExperimentOrder(Enum):
    """Sort orders of a list of experiments; the value is its name in a link."""

    URGENCY = "urgency"
    """Those that need a person first, then by deletion date at the facility."""
    EPN = "epn"
    MEASURED = "measured"
    SIZE = "size"
    STATE = "state"
    PROJECT = "project"
    KEPT_UNTIL = "kept_until"
    COMPLETED = "completed"


FILTERS = ("state", "beamline", "project", "year", "person", "cause")
"""Filters of a list; each is also the name in a link."""
MAX_PAGE_ROWS = 500
"""Rows of one page at most."""
RISK_BANDS = (0, 7, 14, 30)
"""Days that are left, by which what is at risk is counted; 0: none, its time is past."""
NO_VALUE = "-"
"""Stands in a link for a value that is not known, such as no project."""


@dataclass(frozen=True)
class ExperimentQuery:
    """A search, filters, an order and a page."""

    text: str = ""
    """Part of an EPN, title, name or project."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """By a name of `FILTERS` the value that is wanted."""
    needs_person: bool = False
    at_risk: bool = False
    order: ExperimentOrder = ExperimentOrder.URGENCY
    is_descending: bool = False
    page: int = 1
    """From 1 on."""
    per_page: int = 50


@dataclass(frozen=True)
class GroupTotals:
    """Totals of a group of experiments, such as those of a project. Sizes in bytes."""

    name: str
    experiments: int
    settled: int
    files: int
    """In complete copies at home, as are `bytes`."""
    bytes: int
    left_bytes: int
    """Of experiments that are not settled, as far as their size is known."""
    unknown: int
    """Experiments that are not settled and were never listed."""


@dataclass(frozen=True)
class RiskTotals:
    """Experiments that the facility may delete within some days, before they are safe at home."""

    band: int
    """A place in `RISK_BANDS`; after its end: not known how many days are left, and more days."""
    experiments: int
    bytes: int
    """Of those that were listed."""
    unknown: int
    """Those that never were."""

    @property
    def name(self) -> str:
        """The days that are left, as programs read it."""
        names = ["past", *(f"{days}d" for days in RISK_BANDS[1:]), "unknown", "later"]
        return names[self.band]

    @property
    def text(self) -> str:
        """The days that are left, as text for people."""
        pairs = itertools.pairwise(RISK_BANDS)
        later = [f"in {first} to {last} days" for first, last in pairs]
        longest = f"in more than {RISK_BANDS[-1]} days"
        return ["now: its time is past", *later, "not known when", longest][self.band]
