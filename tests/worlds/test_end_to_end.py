"""Short worlds on the simulated facility: the commands themselves, held to the same oracle."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.mail import MailSink
from simulator.portal.handle import OMIT
from tests.conftest import Home as Place
from tests.conftest import give
from tests.worlds.events import Kind
from tests.worlds.facts import Arrival, Facts, Finding, Home, Said, StateSaid
from tests.worlds.names import BEGIN, EQUIPMENT, Files, Name
from tests.worlds.oracle import Oracle
from tests.worlds.world import Config, Visit, World

DAYS = 6
_STATES = {
    "at home": "AT_HOME", "due": "DUE", "waiting": "WAITING", "no project": "UNOWNED",
    "skipped": "SKIPPED", "released": "RELEASED", "not asked for": "OUTSIDE",
    "gone from the facility": "GONE",
}  # fmt: skip
_STORY = re.compile(
    r"^(?P<epn>\w+) \((?P<beamline>\w+)\): (?P<state>[a-z ]+)$(?:\n  why: (?P<why>.*))?", re.M
)
_KINDS = (
    Kind.PORTAL_DOWN, Kind.SFTP_DOWN, Kind.UNMOUNT_ABSENT, Kind.LOSE_COPY, Kind.HIDE,
    Kind.BROKEN_LINK, Kind.LINK, Kind.SKIP, Kind.UNSKIP, Kind.REMAP, Kind.RESTORE, Kind.NO_CYCLE,
)  # fmt: skip


class ShortWorld(World):
    """A world of some days that a real facility can play."""

    def __init__(self, seed: int, root: Path) -> None:
        self.root = root
        super().__init__(seed, DAYS, quiet=2)

    def _draw(self) -> None:
        draw = self.random
        self.filters_by_start = False
        proposals = [str(12000 + draw.randrange(900)) for _ in range(2)]
        self.config = Config({}, str(self.root), "{project}/{beamline}/{epn}/data", 30, 0, 3,
                             fetch_visible=False, only_new=False)  # fmt: skip
        for proposal in dict.fromkeys(proposals):
            self._draw_mapping(proposal)
        self.names = [
            (draw.choice(["mx1", "mx2"]), f"{draw.choice(proposals)}{one}") for one in "abc"
        ]
        for name in self.names:
            for _ in range(draw.randint(1, 2)):
                self._draw_short_visit(name, draw.uniform(-4, DAYS - 4))
        for _ in range(draw.randint(1, 3)):
            self.at(draw.randrange(1, self.quiet_from), self._event(draw.choice(_KINDS)))
        self.at(self.quiet_from, self._become_quiet)

    def _draw_short_visit(self, name: Name, start_day: float) -> None:
        start = BEGIN + timedelta(days=start_day)
        end = start + timedelta(days=self.random.uniform(0.3, 1.4))
        self.number += 1
        equipment = next(number for number, one in EQUIPMENT.items() if one == name[0])
        self.visits.append(Visit(str(self.number), equipment, name, start, end, start))
        for at in range(self.random.randint(1, 2)):
            day = start_day + self.random.random() * 0.3
            self._write_at(name, day, f"v{self.number}-{at}")

    @staticmethod
    def project_folder_of(destination: str) -> str:
        """The folder of the project, three above the copy's beamline."""
        return str(Path(destination).parents[2]) if destination else ""


class Stage:
    """Plays a world on the simulator, runs the commands, and has the oracle look at them."""

    def __init__(
        self, world: ShortWorld, place: Place, sink: MailSink, clock: dict[str, str], mended: Path
    ) -> None:
        self.world = world
        self.place = place
        self.sink = sink
        self.clock = clock
        self.oracle = Oracle()
        self._away = mended
        self._backups: list[tuple[object, ...]] = []
        self._stopped = False

    def run(self) -> list[Finding]:
        for _ in range(DAYS):
            self.world.home = self._homes()
            self.world.next_day()
            self._restore()
            self._play()
            if Kind.NO_CYCLE not in self.world.down:
                found = self._day()
                if found:
                    return found
            self._back_up()
        facility = {name: folder.files for name, folder in self.world.folders.items()}
        found = self.oracle.check_end(self.facts, self.said, facility, {})
        return found or self._trees()

    def _day(self) -> list[Finding]:
        run = self.place.once(environment=self.clock)
        self.world.home = self._homes()
        self._read_ignore()
        self._tell_oracle()
        before = len(self.sink.mails)
        alert = self.place.program.run(
            "epnalert", "--config", self.place.config, environment=self.clock
        )
        mails = self.sink.mails[before:]
        body = mails[0].get_body(("plain",)) if mails else None
        status = self.place.program.run(
            "asynchy", "--config", self.place.config, "status", environment=self.clock
        )
        self.said = Said(
            states=tuple(self._states()),
            exit_code=run.returncode,
            mail=None if body is None else body.get_content(),
            notes=status.stdout,
        )
        assert alert.returncode in (0, 4), alert.stdout + alert.stderr
        self.facts = self._facts()
        found = self.oracle.check_day(self.facts, self.said)
        if found:
            self.world.note(f"mxsync said:\n{run.stdout}{run.stderr}")
        self._answer()
        return found

    def _states(self) -> Iterator[StateSaid]:
        for epn in sorted({name[1] for name in self.oracle.known}):
            told = self.place.program.run(
                "asynchy", "--config", self.place.config, "status", epn, environment=self.clock
            )
            for match in _STORY.finditer(told.stdout):
                state = _STATES[match["state"]]
                yield StateSaid((match["beamline"], match["epn"]), state, False, match["why"] or "")

    # What the world is, on the simulator.

    def _play(self) -> None:
        now = datetime.now(UTC)
        Path(self.clock["CLOCK_OFFSET"]).write_text(
            str(int((self.world.now - now).total_seconds()))
        )
        self._play_facility()
        self._play_portal()
        self._play_home()

    def _play_facility(self) -> None:
        facility = self.place.facility
        for beamline in EQUIPMENT.values():
            folder = facility.data / beamline
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for epn, one in self.world.visible(beamline).items():
                target = folder / epn
                if one.link == "broken":
                    target.symlink_to(facility.data / "nowhere" / epn)
                    continue
                if one.link:
                    target.symlink_to(facility.data / "elsewhere" / beamline / epn)
                    target = facility.data / "elsewhere" / beamline / epn
                    shutil.rmtree(target, ignore_errors=True)
                _write_tree(target, one.files)
        give(facility.data)
        if self._sftp_is_down != self._stopped:
            self._stopped = self._sftp_is_down
            (facility.stop_sshd if self._stopped else facility.start_sshd)()

    def _play_portal(self) -> None:
        portal = self.place.facility.portal
        portal.clear_visits()
        portal.clear_faults()
        for visit in self.world.visits:
            if visit.told_from <= self.world.now and not visit.called_off:
                portal.add_visit(
                    equipment=visit.equipment, epn=visit.name[1], start=visit.start, end=visit.end,
                    id=int(visit.number),
                )  # fmt: skip
        for equipment in self.world.down.get(Kind.PORTAL_DOWN, ()):
            portal.set_fault("status", equipment=equipment, path="visits", code=400)

    def _play_home(self) -> None:
        config, storage = self.world.config, self.place.storage
        projects = {f"p{name[1][3:5]}" for name in self.world.names}
        projects |= {f"q{name[1][3:5]}" for name in self.world.names}
        for project in sorted(projects):
            folder, away = storage / project, self._away / project
            if not folder.exists() and not away.exists():
                self.place.project(project)
            if str(folder) in self.world.unmounted and folder.exists():
                folder.rename(away)
            elif str(folder) not in self.world.unmounted and away.exists():
                away.rename(folder)
        for destination in self._on_disk() - self.world.home.keys():
            shutil.rmtree(destination)
        text = ", ".join(self.world.ignore)
        ignore = self.place.place / "ignore.yml"
        if ignore.exists() or self.world.ignore:
            before = self._ignored()
            if sorted(before) != sorted(self.world.ignore):
                ignore.write_text(f"previouslySynched: [{text}]\n")
        self.place.configure(
            epn_cap_map=dict(config.mapping),
            equipment=[{"id": one, "beamline": name} for one, name in EQUIPMENT.items()],
            beamline="mx1",
            recheck_after=0,
            **{
                "destination-path": config.path,
                "epnalert-email-smtp": f"{self.sink.host}:{self.sink.port}",
                "epnalert-template-folder": OMIT,
                "epnalert-template-text": OMIT,
                "epnalert-template-html": OMIT,
            },
        )

    @property
    def _sftp_is_down(self) -> bool:
        """Here it is down for all beamlines, or for none."""
        return Kind.SFTP_DOWN in self.world.down

    # What is at home.

    def _on_disk(self) -> set[str]:
        """The destinations that are there, mounted or not."""
        return {str(path) for path in self.place.storage.glob("*/mx?/*/data")}

    def _homes(self) -> dict[str, Files]:
        """The trees at home, by destination; those that are not mounted as they were before."""
        away = {
            place: files
            for place, files in self.world.home.items()
            if self.world.project_folder_of(place) in self.world.unmounted
        }
        return away | {place: _read_tree(Path(place)) for place in self._on_disk()}

    def _ignored(self) -> list[str]:
        return re.findall(r"\b\d+[a-z]\b", re.sub(r"#.*", "", self.place.ignored))

    def _read_ignore(self) -> None:
        self.world.ignore = self._ignored()
        self.world.removed -= set(self.world.ignore)

    def _trees(self) -> list[Finding]:
        """Byte for byte: every copy of what is at the facility."""
        found = []
        for item in self.said.states:
            destination = self.facts.homes[item.name].destination
            if item.state == "AT_HOME" and item.name in self.world.folders:
                source = self.place.facility.data / item.name[0] / item.name[1]
                wrong = compare_trees(source.resolve(), Path(destination))
                places = [
                    one for one in self.oracle.known[item.name].arrivals if one != destination
                ]
                if wrong and not any(
                    not compare_trees(source.resolve(), Path(one)) for one in places
                ):
                    found.append(Finding(DAYS, "/".join(item.name), "equal trees", str(wrong)))
        return found

    # What the oracle is told.

    def _tell_oracle(self) -> None:
        world = self.world
        for equipment, beamline in EQUIPMENT.items():
            if equipment not in world.down.get(Kind.PORTAL_DOWN, ()):
                span = (world.now - timedelta(days=30), world.now + timedelta(hours=1))
                visits = [
                    (one.number, one.name[1], one.start, one.end)
                    for one in world.told(equipment, *span)
                ]
                self.oracle.portal_answered(equipment, beamline, span, visits)
            if not self._sftp_is_down:
                found = {epn: one.link == "broken" for epn, one in world.visible(beamline).items()}
                self.oracle.folder_listed(beamline, found, world.now)
        sure = Kind.PORTAL_DOWN not in world.down
        for name in () if self._sftp_is_down else self.oracle.known:
            files = world.folders[name].files if name in world.folders else {}
            _, destination = world.config.destination(name)
            tree = world.tree(destination) if destination else None
            if files and tree == files and not self.oracle.is_running(name, world.now):
                known = self.oracle.known[name]
                before = known.arrivals.get(destination)
                if sure or before is None or before.files != files:
                    self.oracle.experiment_listed(name, dict(files))
                    self.oracle.fetched(name, destination, Arrival(world.now, dict(files), sure))

    def _facts(self) -> Facts:
        world = self.world
        homes = {}
        for name in self.oracle.known:
            project, destination = world.config.destination(name)
            folder = world.project_folder_of(destination)
            homes[name] = Home(project, destination, folder, folder not in world.unmounted)
        places = {place for known in self.oracle.known.values() for place in known.arrivals}
        return Facts(
            day=world.day, now=world.now, clock_right=True,
            portal_whole=Kind.PORTAL_DOWN not in world.down,
            listed=not self._sftp_is_down, mail_taken=True, homes=homes,
            trees={place: world.tree(place) for place in places},
            skipped=frozenset(world.persons), removed=frozenset(world.removed),
            originals={}, released={}, touched=frozenset(), fetch_visible=False,
            recheck=timedelta(0), due_days=3, only_new=False,
        )  # fmt: skip

    # What people and backups do.

    def _answer(self) -> None:
        for item in self.said.states:
            missing = "is missing" in item.reason and item.state == "DUE"
            if self.world.is_quiet and missing:
                self.place.program.run(
                    "asynchy", "--config", self.place.config, "copies", "refetch", item.name[1],
                    environment=self.clock,
                )  # fmt: skip
                self.world.note(f"a person has {item.name[1]} fetched again")
                self.oracle.known[item.name].arrivals.clear()

    def _back_up(self) -> None:
        if not self._backups and (self.place.place / "catalogue.db").exists():
            kept = self.place.place / "backup.db"
            shutil.copyfile(self.place.place / "catalogue.db", kept)
            world = self.world
            self._backups = [
                (
                    kept,
                    self.oracle.snapshot(),
                    self.place.ignored,
                    set(world.persons),
                    set(world.removed),
                )
            ]

    def _restore(self) -> None:
        kind, self.world.restore = self.world.restore, None
        if kind is None or not self._backups:
            return
        kept, known, ignore, persons, removed = self._backups[0]
        assert isinstance(kept, Path) and isinstance(ignore, str)
        assert isinstance(persons, set) and isinstance(removed, set)
        for end in ("-wal", "-shm"):
            (self.place.place / f"catalogue.db{end}").unlink(missing_ok=True)
        shutil.copyfile(kept, self.place.place / "catalogue.db")
        (self.place.place / "ignore.yml").write_text(ignore or "previouslySynched: []\n")
        self.world.ignore = self._ignored()
        self.world.persons, self.world.removed = set(persons), set(removed)
        self.oracle.restored(known)


def _write_tree(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True)
    for path, (size, when) in files.items():
        (folder / path).write_bytes(random.Random(f"{path} {size} {when}").randbytes(size))
        os.utime(folder / path, (when, when))
    latest = max((when for _, when in files.values()), default=0)
    os.utime(folder, (latest, latest))


def _read_tree(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns // 10**9)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def clock(place: Path, clock_library: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment with the world's clock; the portal, which starts later, has it, too."""
    environment = {"LD_PRELOAD": clock_library, "CLOCK_OFFSET": str(place / "offset")}
    (place / "offset").write_text("0")
    (place / "offset").chmod(0o644)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def sink(place: Path) -> Iterator[MailSink]:
    with MailSink(place / "mails") as running:
        yield running


@pytest.mark.extra
@pytest.mark.parametrize("seed", range(20))
def test_in_a_short_world_the_commands_let_nothing_fall_through(
    clock: dict[str, str], sink: MailSink, home: Place, seed: int
) -> None:
    away = home.place / "away"
    away.mkdir()
    stage = Stage(ShortWorld(seed, home.storage), home, sink, clock, away)
    findings = stage.run()
    log = "\n".join(f"day {day}  {text}" for day, text in stage.world.log)
    assert not findings, "\n".join([*map(str, findings), log])
