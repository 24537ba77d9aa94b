"""What a command asks the facility of a world, and what it then knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from asynchy.model.clock import SKEW, is_future
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import BrokenLink, Experiment, LocatedExperiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, experiment_state
from asynchy.model.observed import FolderSeen, observed
from asynchy.model.policy import (
    CURRENT,
    DestinationRules,
    IgnoreEntry,
    Origin,
    Policy,
    RecheckPolicy,
    owners_of,
    running_visits,
)
from asynchy.model.visit import Beamtime, EquipmentVisits, UnreadableVisit
from asynchy.model.visit import Visit as Told
from asynchy.model.visit_span import ask_since, before
from tests.worlds.events import Kind
from tests.worlds.memory_catalogue import Store
from tests.worlds.names import EQUIPMENT, Name
from tests.worlds.oracle import Oracle
from tests.worlds.world import World

_AHEAD = 2 * CURRENT


@dataclass
class _Answers:
    """What the portal said of one equipment entry."""

    equipment: int
    beamline: str
    since: datetime
    until: datetime
    visits: dict[str, Told] = field(default_factory=dict)
    unreadable: list[UnreadableVisit] = field(default_factory=list)
    failure: str | None = None

    @property
    def problem(self) -> str | None:
        if self.failure or not self.unreadable:
            return self.failure
        return f"equipment {self.equipment}: not every running visit is known"

    def as_answer(self) -> EquipmentVisits:
        return EquipmentVisits(
            self.equipment, self.beamline, tuple(self.visits.values()), tuple(self.unreadable),
            self.problem, self.since, self.until,
        )  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What a command knows once it has asked and looked."""

    states: tuple[ExperimentState, ...]
    policy: Policy
    answers: tuple[EquipmentVisits, ...]
    ignored: Mapping[str, IgnoreEntry]
    unlisted: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(answer.problem for answer in self.answers if answer.problem)


class Asking:
    """Asks the portal and the SFTP service of a world, as asynchy's decisions want it."""

    def __init__(self, world: World, store: Store, oracle: Oracle) -> None:
        self.world = world
        self.store = store
        self.oracle = oracle
        self._tells_nothing = False
        self.originals: dict[str, datetime] | None = None
        """What was in `ignore.yml` when it was first read, and when that was."""

    # What is asked.

    def ask(self) -> tuple[EquipmentVisits, ...]:
        """As `repatriation.visit_query`: the current visits, then further back."""
        now, days = self.world.clock, self.world.config.day_range
        self._tells_nothing = False
        answered = self.store.answered_until()
        entries = [
            _Answers(number, beamline, now + _AHEAD, now + _AHEAD)
            for number, beamline in EQUIPMENT.items()
        ]
        self._reach([(entry, now) for entry in entries])
        for _ in range(5):
            known = [
                Beamtime(one, entry.beamline) for entry in entries for one in entry.visits.values()
            ]
            further = [
                (entry, ask_since(known, answered.get(entry.equipment), now, days))
                for entry in entries
            ]
            if all(entry.since <= since or entry.failure for entry, since in further):
                break
            self._reach(further)
        else:
            for entry in entries:
                entry.failure = entry.failure or "visits without end"
        self._doubt_clock(entries)
        self._doubt_emptiness(entries)
        for entry in entries:
            if entry.problem is None:
                self.oracle.cycle_asked(entry.equipment, entry.since, now)
        answers = self._told(entries)
        if self._clock_is_right:
            self.store.correct_times(now)
            self._take_back(now)
        return answers

    def ask_for_mail(self) -> tuple[EquipmentVisits, ...]:
        now = self.world.clock
        entries = [_Answers(number, beamline, now, now) for number, beamline in EQUIPMENT.items()]
        since = before(now, self.world.config.day_range)
        self._reach([(entry, since) for entry in entries])
        self._doubt_clock(entries)
        self._doubt_emptiness(entries)
        return self._told(entries)

    @property
    def _clock_is_right(self) -> bool:
        """Whether the portal has told its time, and it is this machine's."""
        down = set(self.world.down.get(Kind.PORTAL_DOWN, ()))
        return abs(self.world.skew) <= SKEW and not down >= set(EQUIPMENT)

    @property
    def _clock_is_wrong(self) -> bool:
        """Whether the portal has told its time, and it is not this machine's."""
        down = set(self.world.down.get(Kind.PORTAL_DOWN, ()))
        return abs(self.world.skew) > SKEW and not down >= set(EQUIPMENT)

    def _take_back(self, now: datetime) -> None:
        """Releases by a clock that was ahead do not count; a cycle names each."""
        released = self.world.released
        for name in [name for name, when in released.items() if is_future(when, now)]:
            del released[name]
            self.world.note(f"the release of {name[0]}/{name[1]} is taken back")

    def _doubt_clock(self, entries: Iterable[_Answers]) -> None:
        """As `repatriation.visit_query`: the portal's answers tell its time, unless there is none."""
        if self._clock_is_wrong:
            for entry in entries:
                entry.failure = entry.failure or "this machine's clock is wrong"

    def _doubt_emptiness(self, entries: Iterable[_Answers]) -> None:
        """As `repatriation.visit_query`: of an equipment that had visits there are none any more."""
        for entry in entries:
            now, year = self.world.clock, timedelta(days=366)
            if entry.failure or entry.visits or entry.unreadable:
                continue
            known = self.store.begun_visits(entry.equipment, now - year, now)
            if known and not self.world.told(entry.equipment, now - year, now):
                entry.failure = f"equipment {entry.equipment}: no visit of the last year"
                self._tells_nothing = True

    def _reach(self, further: Iterable[tuple[_Answers, datetime]]) -> None:
        down = self.world.down
        for entry, since in further:
            if entry.failure is not None or since >= entry.since:
                continue
            if entry.equipment in down.get(Kind.PORTAL_DOWN, ()):
                entry.failure = f"equipment {entry.equipment}: the portal does not answer"
                continue
            for visit in self.world.told(entry.equipment, since, entry.since):
                entry.visits[visit.number] = Told(
                    visit.number, Epn(visit.name[1]), visit.start, visit.end
                )
            entry.since = since
            if down.get(Kind.PORTAL_PARTLY) == entry.equipment:
                entry.failure = f"equipment {entry.equipment}: the answer hints at paging"
            unreadable = down.get(Kind.PORTAL_UNREADABLE)
            if unreadable is not None and EQUIPMENT[entry.equipment] == unreadable[0]:
                bad = UnreadableVisit(Epn(unreadable[1]), "no end")
                entry.unreadable.append(bad)
                for number in [n for n, one in entry.visits.items() if one.epn == bad.epn]:
                    del entry.visits[number]

    def _told(self, entries: Iterable[_Answers]) -> tuple[EquipmentVisits, ...]:
        answers = tuple(entry.as_answer() for entry in entries)
        for answer in answers:
            assert answer.since is not None and answer.until is not None
            whole = not answer.problem
            self.oracle.portal_answered(
                answer.equipment,
                answer.beamline,
                (answer.since, answer.until) if whole else None,
                [(one.id, one.epn.text, one.start, one.end) for one in answer.visits],
            )
        self.store.keep_visits(answers, self.world.clock)
        return answers

    # What is seen.

    def observe(self, answers: tuple[EquipmentVisits, ...]) -> Seen:
        now = self.world.clock
        ours = self.world.ours
        said = {epn: Origin.OURS if epn in ours else None for epn in self.world.ignore}
        ignored = self.store.entries(said, now, store=not self._clock_is_wrong)
        self._read()
        folders, unlisted = self._folders(now)
        records = self._with_presence(observed(self.store.records(), folders, now))
        config = self.world.config
        policy = Policy(
            now=now,
            rules=DestinationRules(
                epn_cap_map=config.mapping,
                source_path="/data/{beamline}/{epn}",
                destination_root=Path(config.root),
                destination_path=config.path,
            ),
            clock_is_right=self._clock_is_right,
            running=running_visits((item for one in records for item in one.beamtimes), now),
            ignored=ignored,
            recheck=RecheckPolicy(now, timedelta(days=config.recheck_days))
            if config.recheck_days
            else None,
            fetch_visible=config.fetch_visible,
            owners=owners_of(records),
        )
        states = tuple(experiment_state(record, policy) for record in records)
        return Seen(states, policy, answers, ignored, tuple(unlisted))

    def _read(self) -> None:
        if self.originals is None and not self._clock_is_wrong:
            self.originals = dict.fromkeys(self.world.ignore, self.world.clock)
            self.world.persons -= set(self.world.ignore)

    def _folders(self, now: datetime) -> tuple[list[FolderSeen], list[str]]:
        found, unlisted = [], []
        for beamline in EQUIPMENT.values():
            folder = f"/data/{beamline}"
            if beamline in self.world.down.get(Kind.SFTP_DOWN, ()):
                unlisted.append(f"SFTP service, {folder}: no connection")
                continue
            located, broken = [], []
            visible = self.world.visible(beamline)
            for epn, one in sorted(visible.items()):
                experiment, source = Experiment(beamline, Epn(epn)), f"{folder}/{epn}"
                target = "/elsewhere" if one.link else None
                if one.link == "broken":
                    broken.append(BrokenLink(source, target, "it leads to nothing", experiment))
                else:
                    located.append(LocatedExperiment(experiment, source, target))
            found.append(FolderSeen(folder, tuple(located), tuple(broken)))
            self.store.see(found[-1], now)
            self.oracle.folder_listed(
                beamline, {epn: one.link == "broken" for epn, one in visible.items()}, now
            )
        return found, unlisted

    def _with_presence(self, records: Iterable[ExperimentRecord]) -> list[ExperimentRecord]:
        found = list(records)
        tops: dict[str, set[str]] = {}
        for one in found:
            for copy in one.copies:
                if copy.was_complete:
                    tops.setdefault(str(copy.copy.project_folder), set()).add(_place(copy))
        without = {
            folder
            for folder, places in tops.items()
            if len(places) > 1 and not any(self._is_on_the_way(folder, one) for one in places)
        }
        return [
            replace(one, copies=tuple(self._at_place(copy, without) for copy in one.copies))
            if one.copies
            else one
            for one in found
        ]

    def _is_on_the_way(self, folder: str, place: str) -> bool:
        """Whether the first folder on the way from a project's to a copy's is there."""
        first = f"{folder}/{place.removeprefix(f'{folder}/').partition('/')[0]}/"
        return any(f"{one}/".startswith(first) for one in self.world.home)

    def _at_place(self, copy: CopyRecord, without: Collection[str]) -> CopyRecord:
        """A copy with its presence; `without`: projects' folders with nothing of several copies."""
        if not copy.was_complete:
            return copy
        presence = Presence.THERE
        tree = self.world.tree(_place(copy))
        if tree is None:
            folder = str(copy.copy.project_folder)
            there = self.world.project_state(folder) == "there" and folder not in without
            presence = Presence.MISSING if there else Presence.UNMOUNTED
        elif copy.files and not tree:
            presence = Presence.EMPTY
        return copy if presence is copy.presence else replace(copy, presence=presence)

    def portal_troubles(self) -> bool:
        """Whether any answer of the portal is not whole today."""
        troubles = {Kind.PORTAL_DOWN, Kind.PORTAL_PARTLY, Kind.PORTAL_UNREADABLE}
        return self._tells_nothing or bool(troubles & self.world.down.keys())


def _place(copy: CopyRecord) -> str:
    return str(copy.copy.destination)


def name_of(experiment: Experiment) -> Name:
    """The name of an experiment in a world."""
    return experiment.beamline, experiment.epn.text
