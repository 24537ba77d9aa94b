"""One world: a facility, a portal, disks at home, and people; everything drawn from a seed.

Nothing here is asynchy's. The world tells what is true on a day; `run` has asynchy decide on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.worlds.events import HAPPENS, Kind
from tests.worlds.names import BEGIN, EQUIPMENT, Files, Name, proposal_of, shown

QUIET = 15
"""Days at the end on which nothing happens, and people answer what is asked."""


@dataclass
class Visit:
    """A visit as the portal has it."""

    number: str
    equipment: int
    name: Name
    start: datetime
    end: datetime
    told_from: datetime
    """The portal tells of it from this time on."""
    called_off: bool = False


@dataclass
class Folder:
    """The folder of an experiment at the facility."""

    files: Files = field(default_factory=dict)
    link: str = ""
    """`link`: it is a symbolic link to a folder; `broken`: to none; empty: it is none."""
    hidden: bool = False


@dataclass
class Config:
    """What people write into the config."""

    mapping: dict[str, str]
    root: str
    path: str
    day_range: int
    recheck_days: int
    due_days: int
    fetch_visible: bool
    only_new: bool

    def destination(self, name: Name) -> tuple[str | None, str]:
        """The project of an experiment, and where its copy belongs."""
        beamline, epn = name
        project = self.mapping.get(proposal_of(epn))
        if project is None:
            return None, ""
        names = {"project": project, "epn": epn, "beamline": beamline}
        return project, f"{self.root}/{self.path.format(**names)}"


class World:
    """What is true, day by day."""

    def __init__(self, seed: int, days: int, *, quiet: int = QUIET) -> None:
        self.quiet = quiet
        self.random = random.Random(seed)
        self.seed = seed
        self.days = days
        self.day = -1
        self.skew = timedelta(0)
        self.visits: list[Visit] = []
        self.folders: dict[Name, Folder] = {}
        self.names: list[Name] = []
        self.home: dict[str, Files] = {}
        """The trees at home, whether they are mounted or not."""
        self.under_mounts: dict[str, Files] = {}
        """Trees that were written into the folder of a mount that was gone."""
        self.unmounted: dict[str, str] = {}
        """Project folder -> `absent` or `empty`."""
        self.ignore: list[str] = []
        self.persons: set[str] = set()
        """EPNs that a person has entered in `ignore.yml`."""
        self.original: set[str] = set()
        """EPNs that the original program had entered before."""
        self.removed: set[str] = set()
        """EPNs that a person has taken out."""
        self.released: dict[Name, datetime] = {}
        self.touched: set[str] = set()
        """Destinations where people changed single files."""
        self.unwatched: dict[Name, set[str]] = {}
        """Files that changed later than anybody looks."""
        self.down: dict[Kind, Any] = {}
        """What is down or wrong today."""
        self.restore: Kind | None = None
        """What is restored today."""
        self.to_release: list[Name] = []
        """Experiments that a person releases today."""
        self.log: list[tuple[int, str]] = []
        self.kinds: list[Kind] = []
        self._todo: dict[int, list[Callable[[], None]]] = {}
        self.number = 0
        """Of the latest visit."""
        self._draw()

    @property
    def now(self) -> datetime:
        """The true time of today's cycle."""
        return BEGIN + timedelta(days=self.day)

    @property
    def clock(self) -> datetime:
        """What this machine's clock says."""
        return self.now + self.skew

    @property
    def quiet_from(self) -> int:
        """The day from which on nothing happens any more."""
        return self.days - self.quiet

    @property
    def ours(self) -> set[str]:
        """The EPNs in `ignore.yml` whose line says that asynchy wrote it."""
        return set(self.ignore) - self.persons - self.original

    @property
    def is_quiet(self) -> bool:
        """Whether nothing happens any more."""
        return self.day >= self.quiet_from

    def note(self, text: str) -> None:
        """Something has happened."""
        self.log.append((self.day, text))

    def next_day(self) -> None:
        """Let a day pass, and what happens on it."""
        self.day += 1
        for event in self._todo.pop(self.day, ()):
            event()

    # What the facility answers.

    def told(self, equipment: int, since: datetime, until: datetime) -> list[Visit]:
        """The visits that the portal tells of for a span of time."""
        now = self.now
        return [
            visit
            for visit in self.visits
            if visit.equipment == equipment
            and visit.told_from <= now
            and not visit.called_off
            and (visit.start if self.filters_by_start else visit.end) >= since
            and visit.start <= until
        ]

    def visible(self, beamline: str) -> dict[str, Folder]:
        """The folders of experiments in the folder of a beamline, by EPN."""
        return {
            name[1]: folder
            for name, folder in self.folders.items()
            if name[0] == beamline and not folder.hidden
        }

    # What is at home.

    def project_state(self, folder: str) -> str:
        """Whether a project's folder is `there`, `absent` or `empty`."""
        return self.unmounted.get(folder, "there")

    def tree(self, destination: str) -> Files | None:
        """What can be seen at a destination; None: no folder."""
        state = self.project_state(self.project_folder_of(destination))
        if state == "there":
            return self.home.get(destination)
        return self.under_mounts.get(destination) if state == "empty" else None

    def write(self, destination: str, files: Files) -> None:
        """Files are brought to a destination."""
        state = self.project_state(self.project_folder_of(destination))
        trees = self.home if state == "there" else self.under_mounts
        trees[destination] = {**trees.get(destination, {}), **files}
        if state == "there":
            self.touched.discard(destination)

    @staticmethod
    def project_folder_of(destination: str) -> str:
        """The folder of the project that a destination is in."""
        return "/".join(destination.split("/")[:3])

    # What is drawn.

    def _draw(self) -> None:
        draw = self.random
        self.filters_by_start = draw.random() < 0.3
        proposals = [str(12000 + draw.randrange(900)) for _ in range(draw.randint(2, 3))]
        self.config = Config(
            mapping={},
            root="/home0",
            path=draw.choice(["{project}/{epn}/data"] * 3 + ["{project}/{beamline}/{epn}/data"]),
            day_range=draw.choice([3, 7, 14, 30]),
            recheck_days=draw.choice([0, 7, 7, 7]),
            due_days=3,
            fetch_visible=draw.random() < 0.25,
            only_new=draw.random() < 0.3,
        )
        for proposal in dict.fromkeys(proposals):
            self._draw_mapping(proposal)
        for at in range(draw.randint(4, 7)):
            epn = f"{draw.choice(proposals)}{'abcdefgh'[at]}"
            name = (draw.choice(["mx1", "mx1", "mx2"]), epn)
            self.names.append(name)
            if draw.random() < 0.12:
                self.names.append(("mx2" if name[0] == "mx1" else "mx1", epn))
        for name in self.names:
            self._draw_experiment(name)
        for _ in range(draw.randint(3, max(4, self.days // 8))):
            day = draw.randrange(1, max(2, self.quiet_from - 1))
            self.at(day, self._event(draw.choice(list(Kind))))
        self.at(self.quiet_from, self._become_quiet)

    def _draw_mapping(self, proposal: str) -> None:
        draw, project = self.random, f"p{proposal[-2:]}"
        if draw.random() < 0.6:
            self.config.mapping[proposal] = project
            return

        def add() -> None:
            self.config.mapping[proposal] = project
            self.note(f"proposal {proposal} is mapped to {project}")

        self.at(draw.randrange(1, max(2, self.quiet_from)), add)

    def _draw_experiment(self, name: Name) -> None:
        draw = self.random
        latest = max(1, self.quiet_from - 12)
        if draw.random() < 0.1:  # visible, and the portal never tells of it
            day = draw.uniform(-10, latest)
            for at in range(draw.randint(1, 3)):
                self._write_at(name, day, f"lone-{at}")
                day = min(day + draw.uniform(0, 6), latest)
            return
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            self.draw_visit(name, draw.uniform(-15, latest))
        last = max(visit.end for visit in self.visits if visit.name == name)
        if draw.random() < 0.15 and last < BEGIN:
            self.original.add(name[1])
            if name[1] not in self.ignore:
                self.ignore.append(name[1])
        if draw.random() < 0.2:
            self.at(self._day_of(last) + draw.randint(15, 45), lambda: self._delete(name))

    def draw_visit(self, name: Name, start_day: float) -> None:
        """A visit of an experiment that begins on a day, and its files."""
        draw = self.random
        long = draw.random() < 0.06
        length = draw.uniform(8, 20) if long else draw.uniform(0.3, 3)
        length = min(length, max(0.3, self.quiet_from - 9 - start_day))
        start = BEGIN + timedelta(days=start_day)
        end = start + timedelta(days=length)
        when = draw.random()
        told = start - timedelta(days=5)
        if when < 0.2:
            told = start + (end - start) * draw.random()
        elif when < 0.3:
            told = end + timedelta(days=draw.uniform(0, min(6, self.config.day_range - 1.5)))
        self.number += 1
        equipment = next(number for number, one in EQUIPMENT.items() if one == name[0])
        visit = Visit(str(self.number), equipment, name, start, end, told)
        self.visits.append(visit)
        if draw.random() < 0.04:
            return  # nothing is ever measured
        lag = draw.uniform(0, 4) if draw.random() < 0.2 else 0.0
        for at in range(draw.randint(1, 3)):
            day = start_day + length * draw.random() + lag
            self._write_at(name, min(day, start_day + length + 4), f"v{visit.number}-{at}")
        if draw.random() < 0.35:
            self._write_at(name, start_day + length + draw.uniform(0.1, 6), f"v{visit.number}-late")

    def _write_at(self, name: Name, day: float, path: str) -> None:
        size = self.random.randrange(1, 1000)

        def write() -> None:
            folder = self.folders.setdefault(name, Folder())
            when = min(BEGIN + timedelta(days=day), self.now)
            folder.files[path] = (size, int(when.timestamp()))
            self.note(f"{shown(name)}: {path} appears at the facility")
            if not self._is_watched(name, when):
                self.unwatched.setdefault(name, set()).add(path)

        self.at(max(0, self._day_of(BEGIN + timedelta(days=day))), write)

    def _is_watched(self, name: Name, when: datetime) -> bool:
        """Whether somebody looks at it later than that: within the days of the second look."""
        days = timedelta(days=self.config.recheck_days)
        visits = [visit for visit in self.visits if visit.name == name]
        if not visits:
            return bool(days)
        return any(when <= visit.end + days for visit in visits if self._can_be_told(visit))

    def _can_be_told(self, visit: Visit) -> bool:
        """Whether a portal that filters by start tells of it in the days that are asked for."""
        days = timedelta(days=self.config.day_range)
        return not self.filters_by_start or max(visit.end, visit.told_from) - visit.start < days

    def _day_of(self, when: datetime) -> int:
        """The first day whose cycle comes after a time."""
        return -((BEGIN - when) // timedelta(days=1))

    def at(self, day: int, event: Callable[[], None]) -> None:
        """Let something happen on a day, unless the world has ended by then."""
        if day < self.days:
            self._todo.setdefault(max(day, 0), []).append(event)

    def _delete(self, name: Name) -> None:
        if self.folders.pop(name, None) is not None:
            self.note(f"{shown(name)}: the facility deletes it")

    # What happens by chance.

    def _event(self, kind: Kind) -> Callable[[], None]:
        def happen() -> None:
            self.kinds.append(kind)
            HAPPENS[kind](self)

        return happen

    def for_days(self, kind: Kind, what: Any, most: int) -> None:
        """Something is down or wrong for some days."""
        days = self.random.randint(1, most)
        until = min(self.day + days, self.quiet_from)
        self.down[kind] = what
        self.note(f"{kind.value} until day {until} ({what})")

        def end() -> None:
            if kind is Kind.CLOCK:
                self.skew = timedelta(0)
            if self.down.pop(kind, None) is not None:
                self.note(f"no longer: {kind.value}")

        self.at(until, end)

    def _become_quiet(self) -> None:
        self.note("quiet days begin")
        self.down.clear()
        self.skew = timedelta(0)
        self.unmounted.clear()
        for folder in self.folders.values():
            folder.link, folder.hidden = "", False
        for name in self.names:
            proposal = proposal_of(name[1])
            self.config.mapping.setdefault(proposal, f"p{proposal[-2:]}")
