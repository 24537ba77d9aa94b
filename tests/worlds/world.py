"""One world: a facility, a portal, disks at home, and people; everything drawn from a seed.

Nothing here is asynchy's. The world tells what is true on a day; `run` has asynchy decide on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

BEGIN = datetime(2026, 1, 1, 2, tzinfo=UTC)
"""When the first cycle runs; the next ones follow every 24 hours."""
EQUIPMENT = {23: "mx1", 24: "mx2"}
QUIET = 15
"""Days at the end on which nothing happens, and people answer what is asked."""
Name = tuple[str, str]
"""Beamline and EPN."""
Files = dict[str, tuple[int, int]]
"""By path, size in bytes and time in seconds since 1970."""


class Kind(Enum):
    """What can happen; the value is how it is told."""

    PORTAL_DOWN = "the portal is down"
    PORTAL_PARTLY = "the portal hints at further pages"
    PORTAL_UNREADABLE = "the portal tells of a visit that cannot be understood"
    SFTP_DOWN = "the SFTP service is down"
    ENGINE_FAILS = "transfers break off"
    CRASH = "the service is killed in the middle of a transfer"
    CHANGES = "files change while they are fetched"
    NO_CYCLE = "no cycle runs"
    NO_MAIL = "the mail server is down"
    CLOCK = "this machine's clock is wrong"
    UNMOUNT_ABSENT = "a project's folder is not there"
    UNMOUNT_EMPTY = "a project's mount is gone, its folder is empty"
    LOSE_COPY = "a copy is deleted at home"
    EMPTY_COPY = "a copy is emptied at home"
    MOVE_COPY = "a copy is moved away at home, and back"
    OLD_COPY = "a copy is restored from an old backup"
    EDIT_COPY = "a person edits a file at home"
    LINK = "a folder at the facility becomes a link"
    BROKEN_LINK = "a folder at the facility becomes a broken link"
    HIDE = "a folder at the facility cannot be seen for some days"
    SHRINK = "a file at the facility vanishes or shrinks"
    SKIP = "a person adds an EPN to ignore.yml"
    UNSKIP = "a person removes an EPN from ignore.yml"
    RELEASE = "a person releases an experiment"
    REMAP = "a proposal gets another project"
    UNMAP = "a proposal is taken out of epn_cap_map"
    DESTINATION = "the config gets another destination"
    FETCH_VISIBLE = "fetch-visible is switched"
    RESTORE = "state is restored from last week's backup"
    RESTORE_CATALOGUE = "the catalogue alone is restored from last week's backup"
    MOVE_VISIT = "a visit is moved"
    CALL_OFF = "a visit is called off"
    RETURN = "an EPN gets a further visit"


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


def proposal_of(epn: str) -> str:
    """The digits of an EPN."""
    return epn.rstrip("abcdefghijklmnopqrstuvwxyz")


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
        self.unclear: set[str] = set()
        """EPNs that asynchy had entered before the catalogue alone was restored."""
        self.removed: set[str] = set()
        """EPNs that a person has taken out."""
        self.released: dict[Name, datetime] = {}
        self.touched: set[str] = set()
        """Destinations where people changed single files."""
        self.unwatched: dict[Name, set[str]] = {}
        """Files that changed later than anybody looks."""
        self.down: dict[Kind, object] = {}
        """What is down or wrong today."""
        self.restore: Kind | None = None
        """What is restored today."""
        self.to_release: list[Name] = []
        """Experiments that a person releases today."""
        self.log: list[tuple[int, str]] = []
        self.kinds: list[Kind] = []
        self._todo: dict[int, list[Callable[[], None]]] = {}
        self._number = 0
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
            self._at(day, self._event(draw.choice(list(Kind))))
        self._at(self.quiet_from, self._become_quiet)

    def _draw_mapping(self, proposal: str) -> None:
        draw, project = self.random, f"p{proposal[-2:]}"
        if draw.random() < 0.6:
            self.config.mapping[proposal] = project
            return

        def add() -> None:
            self.config.mapping[proposal] = project
            self.note(f"proposal {proposal} is mapped to {project}")

        self._at(draw.randrange(1, max(2, self.quiet_from)), add)

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
            self._draw_visit(name, draw.uniform(-15, latest))
        last = max(visit.end for visit in self.visits if visit.name == name)
        if draw.random() < 0.15 and last < BEGIN:
            self.original.add(name[1])
            if name[1] not in self.ignore:
                self.ignore.append(name[1])
        if draw.random() < 0.2:
            self._at(self._day_of(last) + draw.randint(15, 45), lambda: self._delete(name))

    def _draw_visit(self, name: Name, start_day: float) -> None:
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
        self._number += 1
        equipment = next(number for number, one in EQUIPMENT.items() if one == name[0])
        visit = Visit(str(self._number), equipment, name, start, end, told)
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
            self.note(f"{_shown(name)}: {path} appears at the facility")
            if not self._is_watched(name, when):
                self.unwatched.setdefault(name, set()).add(path)

        self._at(max(0, self._day_of(BEGIN + timedelta(days=day))), write)

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

    def _at(self, day: int, event: Callable[[], None]) -> None:
        if day < self.days:
            self._todo.setdefault(max(day, 0), []).append(event)

    def _delete(self, name: Name) -> None:
        if self.folders.pop(name, None) is not None:
            self.note(f"{_shown(name)}: the facility deletes it")

    # What happens by chance.

    def _event(self, kind: Kind) -> Callable[[], None]:
        def happen() -> None:
            self.kinds.append(kind)
            _HAPPENS[kind](self)

        return happen

    def _for_days(self, kind: Kind, what: object, most: int) -> None:
        days = self.random.randint(1, most)
        until = min(self.day + days, self.quiet_from)
        self.down[kind] = what
        self.note(f"{kind.value} until day {until} ({what})")

        def end() -> None:
            if kind is Kind.CLOCK:
                self.skew = timedelta(0)
            if self.down.pop(kind, None) is not None:
                self.note(f"no longer: {kind.value}")

        self._at(until, end)

    def portal_down(self) -> None:
        what = self.random.choice([(23,), (24,), (23, 24), (23, 24)])
        self._for_days(Kind.PORTAL_DOWN, what, 9)

    def portal_partly(self) -> None:
        self._for_days(Kind.PORTAL_PARTLY, 23, 4)

    def portal_unreadable(self) -> None:
        self._for_days(Kind.PORTAL_UNREADABLE, self.random.choice(self.names), 4)

    def sftp_down(self) -> None:
        what = self.random.choice([("mx1",), ("mx2",), ("mx1", "mx2"), ("mx1", "mx2")])
        self._for_days(Kind.SFTP_DOWN, what, 8)

    def engine_fails(self) -> None:
        self._for_days(Kind.ENGINE_FAILS, True, 4)

    def crash(self) -> None:
        self._for_days(Kind.CRASH, True, 2)

    def changes(self) -> None:
        self._for_days(Kind.CHANGES, self.random.randint(1, 4), 2)

    def no_cycle(self) -> None:
        self._for_days(Kind.NO_CYCLE, True, 9)

    def no_mail(self) -> None:
        self._for_days(Kind.NO_MAIL, True, 4)

    def clock_wrong(self) -> None:
        draw = self.random
        hours = draw.choice([-1, 1]) * draw.choice([1, 12, 24 * 5, 24 * 400])
        self._for_days(Kind.CLOCK, f"{hours} h", 4)
        self.skew = timedelta(hours=hours)

    def unmount(self, how: str) -> None:
        folder = self._some_project()
        if folder is None or folder in self.unmounted:
            return
        self.unmounted[folder] = how
        self.under_mounts.clear()
        until = min(self.day + self.random.randint(1, 7), self.quiet_from)
        self.note(f"{folder} is {how} until day {until}")
        self._at(until, lambda: self._mount(folder))

    def _mount(self, folder: str) -> None:
        if self.unmounted.pop(folder, None) is None:
            return
        self.note(f"{folder} is mounted again")
        for destination, files in self.under_mounts.items():
            below = self.home.get(destination)
            if below and below != files and self.project_folder_of(destination) == folder:
                self.touched.add(destination)  # what was there before is not what was brought

    def _some_project(self) -> str | None:
        projects = sorted(set(self.config.mapping.values()))
        return f"{self.config.root}/{self.random.choice(projects)}" if projects else None

    def _some_copy(self) -> str | None:
        return self.random.choice(sorted(self.home)) if self.home else None

    def lose_copy(self) -> None:
        if (copy := self._some_copy()) is not None:
            del self.home[copy]
            self.note(f"{copy} is deleted at home")

    def empty_copy(self) -> None:
        if (copy := self._some_copy()) is not None:
            self.home[copy] = {}
            self.note(f"{copy} is emptied at home")

    def move_copy(self) -> None:
        copy = self._some_copy()
        if copy is None:
            return
        files = self.home.pop(copy)
        until = min(self.day + self.random.randint(1, 8), self.quiet_from)
        self.note(f"{copy} is moved away until day {until}")

        def back() -> None:
            self.home[copy] = {**files, **self.home.get(copy, {})}
            self.touched.add(copy)
            self.note(f"{copy} is moved back")

        self._at(until, back)

    def old_copy(self) -> None:
        copy = self._some_copy()
        if copy is not None and self.home[copy]:
            path = self.random.choice(sorted(self.home[copy]))
            del self.home[copy][path]
            if self.home[copy]:
                self.touched.add(copy)
            self.note(f"{copy} is restored from an old backup, without {path}")

    def edit_copy(self) -> None:
        copy = self._some_copy()
        if copy is not None and self.home[copy]:
            path = self.random.choice(sorted(self.home[copy]))
            self.home[copy][path] = (7, int(self.now.timestamp()))
            self.touched.add(copy)
            self.note(f"{copy}/{path} is edited at home")

    def _some_folder(self) -> Name | None:
        return self.random.choice(sorted(self.folders)) if self.folders else None

    def link(self, how: str) -> None:
        name = self._some_folder()
        if name is None:
            return
        self.folders[name].link = how
        until = min(self.day + self.random.randint(1, 8), self.quiet_from)
        self.note(f"{_shown(name)}: its folder is a {how} link until day {until}")

        def end() -> None:
            if name in self.folders:
                self.folders[name].link = ""

        self._at(until, end)

    def hide(self) -> None:
        name = self._some_folder()
        if name is None:
            return
        self.folders[name].hidden = True
        until = min(self.day + self.random.randint(1, 8), self.quiet_from)
        self.note(f"{_shown(name)}: its folder is not there until day {until}")

        def end() -> None:
            if name in self.folders:
                self.folders[name].hidden = False
                self.note(f"{_shown(name)}: its folder is there again")

        self._at(until, end)

    def shrink(self) -> None:
        name = self._some_folder()
        if name is None or not self.folders[name].files:
            return
        files = self.folders[name].files
        path = self.random.choice(sorted(files))
        if self.random.random() < 0.5 and len(files) > 1:
            del files[path]
            self.note(f"{_shown(name)}: {path} vanishes at the facility")
            return
        size, when = files[path]
        files[path] = (size // 2, when)
        self.note(f"{_shown(name)}: {path} shrinks at the facility")
        self.unwatched.setdefault(name, set()).add(path)

    def skip(self) -> None:
        epn = self.random.choice(self.names)[1]
        if epn not in self.ignore and epn not in self.removed:
            self.ignore.append(epn)
            self.persons.add(epn)
            self.note(f"a person adds {epn} to ignore.yml")

    def unskip(self) -> None:
        if not self.ignore:
            return
        epn = self.random.choice(self.ignore)
        self.ignore.remove(epn)
        self.persons.discard(epn)
        self.original.discard(epn)
        self.removed.add(epn)
        self.note(f"a person removes {epn} from ignore.yml")

    def remap(self) -> None:
        if self.config.mapping:
            proposal = self.random.choice(sorted(self.config.mapping))
            self.config.mapping[proposal] = f"q{proposal[-2:]}"
            self.note(f"proposal {proposal} belongs to q{proposal[-2:]} now")

    def unmap(self) -> None:
        if self.config.mapping:
            proposal = self.random.choice(sorted(self.config.mapping))
            project = self.config.mapping.pop(proposal)
            self.note(f"proposal {proposal} is in no project")
            until = min(self.day + self.random.randint(1, 9), self.quiet_from)
            self._at(until, lambda: self._map(proposal, project))

    def _map(self, proposal: str, project: str) -> None:
        self.config.mapping.setdefault(proposal, project)
        self.note(f"proposal {proposal} is mapped to {project}")

    def other_destination(self) -> None:
        if self.random.random() < 0.5:
            self.config.root = "/home1" if self.config.root == "/home0" else "/home0"
        else:
            self.config.path = "{project}/{beamline}/{epn}/data"
        self.note(f"destinations are {self.config.root}/{self.config.path} now")

    def fetch_visible(self) -> None:
        self.config.fetch_visible = not self.config.fetch_visible
        self.note(f"fetch-visible: {self.config.fetch_visible}")

    def restore_state(self, kind: Kind) -> None:
        self.restore = kind
        self.note(kind.value)

    def move_visit(self) -> None:
        coming = [visit for visit in self.visits if visit.end > self.now]
        if coming:
            visit = self.random.choice(coming)
            by = timedelta(days=self.random.uniform(-3, 3))
            end = min(visit.end + by, BEGIN + timedelta(days=self.quiet_from - 9))
            visit.start, visit.end = end - (visit.end - visit.start), end
            self.note(f"visit {visit.number} of {_shown(visit.name)} is moved by {by}")
            self._forget_watch(visit.name)

    def _forget_watch(self, name: Name) -> None:
        """Files that come after the new end and its second look are seen by nobody."""
        self.unwatched.setdefault(name, set()).update(
            f"v{visit.number}-{end}"
            for visit in self.visits
            if visit.name == name
            for end in ("0", "1", "2", "late")
        )

    def call_off(self) -> None:
        coming = [visit for visit in self.visits if visit.end > self.now]
        if coming:
            visit = self.random.choice(coming)
            visit.called_off = True
            self.note(f"visit {visit.number} of {_shown(visit.name)} is called off")
            self._forget_watch(visit.name)

    def further_visit(self) -> None:
        if self.day < self.quiet_from - 12:
            name = self.random.choice(self.names)
            self._draw_visit(name, self.day + self.random.uniform(1, 2))
            self.note(f"{_shown(name)}: a further visit, number {self._number}")

    def release(self) -> None:
        name = self._some_folder()
        if name is not None:
            self.to_release.append(name)

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


def _shown(name: Name) -> str:
    return f"{name[0]}/{name[1]}"


_HAPPENS: dict[Kind, Callable[[World], None]] = {
    Kind.PORTAL_DOWN: World.portal_down,
    Kind.PORTAL_PARTLY: World.portal_partly,
    Kind.PORTAL_UNREADABLE: World.portal_unreadable,
    Kind.SFTP_DOWN: World.sftp_down,
    Kind.ENGINE_FAILS: World.engine_fails,
    Kind.CRASH: World.crash,
    Kind.CHANGES: World.changes,
    Kind.NO_CYCLE: World.no_cycle,
    Kind.NO_MAIL: World.no_mail,
    Kind.CLOCK: World.clock_wrong,
    Kind.UNMOUNT_ABSENT: lambda world: world.unmount("absent"),
    Kind.UNMOUNT_EMPTY: lambda world: world.unmount("empty"),
    Kind.LOSE_COPY: World.lose_copy,
    Kind.EMPTY_COPY: World.empty_copy,
    Kind.MOVE_COPY: World.move_copy,
    Kind.OLD_COPY: World.old_copy,
    Kind.EDIT_COPY: World.edit_copy,
    Kind.LINK: lambda world: world.link("link"),
    Kind.BROKEN_LINK: lambda world: world.link("broken"),
    Kind.HIDE: World.hide,
    Kind.SHRINK: World.shrink,
    Kind.SKIP: World.skip,
    Kind.UNSKIP: World.unskip,
    Kind.RELEASE: World.release,
    Kind.REMAP: World.remap,
    Kind.UNMAP: World.unmap,
    Kind.DESTINATION: World.other_destination,
    Kind.FETCH_VISIBLE: World.fetch_visible,
    Kind.RESTORE: lambda world: world.restore_state(Kind.RESTORE),
    Kind.RESTORE_CATALOGUE: lambda world: world.restore_state(Kind.RESTORE_CATALOGUE),
    Kind.MOVE_VISIT: World.move_visit,
    Kind.CALL_OFF: World.call_off,
    Kind.RETURN: World.further_visit,
}
