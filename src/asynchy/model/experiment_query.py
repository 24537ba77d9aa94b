"""Which experiments of a list a person wants to see, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class ExperimentOrder(Enum):
    """What a list of experiments can be sorted by; the value is its name in a link."""

    URGENCY = "urgency"
    """What needs a person first, then by when the facility may delete it."""
    EPN = "epn"
    MEASURED = "measured"
    SIZE = "size"
    STATE = "state"
    PROJECT = "project"
    KEPT_UNTIL = "kept_until"
    COMPLETED = "completed"


FILTERS = ("state", "beamline", "project", "year", "person", "cause")
"""What a list can be narrowed by; each is also the name in a link."""
LARGEST_PAGE = 500
"""Rows of one page at most."""
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
    """What experiments of one kind come to, such as those of a project. Sizes in bytes."""

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
