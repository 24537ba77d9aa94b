"""What the oracle is given: what is true of a day, and what asynchy said of it.

Like the oracle, this imports nothing of asynchy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

Files = Mapping[str, tuple[int, int]]
"""By path, size in bytes and time in seconds since 1970."""
Name = tuple[str, str]
"""Beamline and EPN."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be."""

    day: int
    experiment: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"day {self.day}, {self.experiment}: expected {self.expected}; found {self.found}"


@dataclass(frozen=True)
class StateSaid:
    """What asynchy says of one experiment."""

    name: Name
    state: str
    needs_person: bool
    reason: str = ""


@dataclass(frozen=True)
class Said:
    """What asynchy said on one day, after its cycle."""

    states: tuple[StateSaid, ...]
    exit_code: int | None
    """None: the process was killed."""
    mail: str | None
    """The text of the mail that was taken; None: none was."""
    notes: str
    """What a plan and a status say besides the states."""
    asked: frozenset[str] = frozenset()
    """The EPNs of which the mail has asked whose they are."""


@dataclass(frozen=True)
class Arrival:
    """What a transfer brought: the facility's files, all of which were then found at home."""

    listed: datetime
    files: Files
    sure: bool
    """Whether every running visit was known, and none of this EPN was running."""
    unfinished: bool = False
    """Whether a later attempt for the same copy did not come to its end."""


@dataclass
class Known:
    """What the facility has said of one experiment, and what has come of it."""

    visits: dict[tuple[int, str], tuple[datetime, datetime]] = field(default_factory=dict)
    """By equipment and number: start and end, as last told."""
    doubtful: set[tuple[int, str]] = field(default_factory=set)
    """Told before, and no longer: perhaps called off."""
    visible: bool = False
    seen: bool = False
    broken: bool = False
    """Whether its folder is a link that leads to no folder."""
    found_again: datetime | None = None
    """When its folder was last there again, after it had not been, or had been of no use."""
    compared: bool = True
    """Whether its files were listed since then."""
    listed: Files | None = None
    """Its files, as they were last listed."""
    arrivals: dict[str, Arrival] = field(default_factory=dict)
    """By destination, the latest transfer that brought all."""

    def copied(self) -> Known:
        """One of its own."""
        return replace(
            self,
            visits=dict(self.visits),
            doubtful=set(self.doubtful),
            arrivals=dict(self.arrivals),
        )

    def certain(self) -> Iterator[tuple[datetime, datetime]]:
        """The visits that nothing speaks against."""
        return (when for key, when in self.visits.items() if key not in self.doubtful)


@dataclass(frozen=True)
class Home:
    """What the config and the disks at home are on one day, for one experiment."""

    project: str | None
    destination: str
    """Where its copy belongs; empty: unowned."""
    folder: str
    """The project's folder."""
    mounted: bool
    """Whether that is there."""


@dataclass(frozen=True)
class Facts:
    """What is true of one day, apart from what the facility answered."""

    day: int
    now: datetime
    clock_right: bool
    portal_whole: bool
    """Whether the portal answered every question of the cycle."""
    listed: bool
    """Whether the folders of all beamlines could be listed."""
    mail_taken: bool
    """Whether the mail server takes mails."""
    homes: Mapping[Name, Home]
    trees: Mapping[str, Files | None]
    """By destination what is there; None: no folder."""
    skipped: Collection[str]
    """EPNs that a person has entered in `ignore.yml`."""
    removed: Collection[str]
    """EPNs that a person has taken out of it, to have them fetched again."""
    originals: Mapping[str, datetime]
    """EPNs that the original program had entered, and when asynchy first read that."""
    released: Mapping[Name, datetime]
    touched: Collection[str]
    """Destinations where people changed or lost single files."""
    fetch_visible: bool
    recheck: timedelta
    """How long after a visit its files are looked at once more; zero: never."""
    due_days: int
    """Days after which a mail names what is due."""
    only_new: bool
    """Whether a mail leaves out EPNs of unknown ownership that were named before."""

    @property
    def whole(self) -> bool:
        """Whether all was asked, and all answered."""
        return self.portal_whole and self.listed and self.clock_right
