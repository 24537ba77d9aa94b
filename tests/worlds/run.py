"""A world, day by day: asynchy's decisions on it, and what the oracle says of them.

What is decided is called from asynchy: since when the portal is asked, what its answers mean, the
state of each experiment, what is listed, fetched and entered, the exit code, the mail. Played here
is what moves: the portal's answers, listings, transfers, disks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from asynchy.alerting.content import Alert, Unknown, overdue, unknown_epns
from asynchy.model.copy_record import Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_state import ExperimentState
from asynchy.model.notification import NotificationHistory
from asynchy.model.plan import SkipReason
from asynchy.model.plan_overview import attention, long_visits, overview_of, sentences
from tests.worlds.asking import Asking, Seen, name_of
from tests.worlds.events import Kind
from tests.worlds.facts import Facts, Finding, Home, Said, StateSaid
from tests.worlds.fetching import LONG_VISIT, Fetching
from tests.worlds.memory_catalogue import MemoryStore, Store
from tests.worlds.names import Name
from tests.worlds.oracle import Oracle
from tests.worlds.world import World


@dataclass
class Result:
    """What became of one world."""

    seed: int
    days: int
    findings: list[Finding] = field(default_factory=list)
    log: list[tuple[int, str]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    experiments: int = 0
    transfers: int = 0
    states: int = 0
    seconds: float = 0.0
    """Of a processor."""


class Runner:
    """Runs one world."""

    def __init__(self, world: World, store: Store) -> None:
        self.world = world
        self.store = store
        self.oracle = Oracle()
        self.asking = Asking(world, store, self.oracle)
        self.fetching = Fetching(self.asking)
        self.result = Result(world.seed, world.days)
        self._backups: list[tuple[Any, ...]] = []
        self._pending = False
        self._mailed: set[Epn] = set()

    def run(self) -> Result:
        """All days; stops at the first day on which something is found."""
        world = self.world
        for _ in range(world.days):
            world.next_day()
            self._restore()
            self._people()
            if Kind.NO_CYCLE in world.down:
                continue
            findings = self._day()
            if world.day == world.days - 1:
                findings = findings or self._end()
            if findings:
                self.result.findings += findings
                break
            self._back_up()
        self.result.log = world.log
        self.result.kinds = [kind.name for kind in world.kinds]
        self.result.experiments = len(world.names)
        self.result.transfers = self.fetching.transfers
        return self.result

    def _day(self) -> list[Finding]:
        seen = self.asking.observe(self.asking.ask())
        code = self.fetching.cycle(seen)
        after = self.asking.observe(self.asking.ask_for_mail())
        alert = self._alert(after)
        mail = self._mailed_today(alert)
        self.states = after.states
        self.result.states += len(after.states)
        self.said = said = Said(
            states=tuple(_said(item) for item in after.states),
            exit_code=code,
            mail=mail,
            notes="; ".join(alert.notes),
            asked=frozenset(item.epn.text for item in alert.unknown if mail is not None),
        )
        self.facts = self._facts()
        found = self.oracle.check_day(self.facts, said)
        self._answer(after.states)
        return found

    def _end(self) -> list[Finding]:
        exempt: dict[Name, set[str]] = {
            name: set(some) for name, some in self.world.unwatched.items()
        }
        facility = {name: folder.files for name, folder in self.world.folders.items()}
        return self.oracle.check_end(self.facts, self.said, facility, exempt)

    # What is mailed.

    def _alert(self, seen: Seen) -> Alert:
        """What a mail would say today."""
        world, now = self.world, self.world.clock
        unknown = unknown_epns(seen.states)
        for answer in seen.answers:
            for visit in answer.unreadable:
                if visit.epn is not None and visit.epn.proposal not in world.config.mapping:
                    unknown.setdefault(visit.epn, [])
        return Alert(
            unknown=tuple(self._unknown(epn) for epn in unknown),
            overdue=overdue(seen.states, world.config.due_days, now),
            problems=(*seen.unlisted, *seen.problems),
            attention=attention(seen.states, now),
            notes=(
                *sentences(overview_of(seen.states)),
                *long_visits(seen.states, seen.policy, LONG_VISIT),
            ),
        )

    def _mailed_today(self, alert: Alert) -> str | None:
        """The text of the mail that was taken; None: there was no news, or no mail server."""
        world = self.world
        if alert.anything and (self._pending or not world.config.only_new or alert.is_news):
            self._pending = Kind.NO_MAIL in world.down
            if not self._pending:
                epns = [item.epn for item in alert.unknown]
                self.store.mailed(epns, world.clock)
                self._mailed.update(epns)
                names = [item.epn.text for item in alert.overdue]
                said = [*alert.problems, *alert.attention, *alert.notes]
                return "; ".join([*map(str, epns), *names, *said])
        return None

    def _unknown(self, epn: Epn) -> Unknown:
        reported = NotificationHistory(self.world.clock, 1) if epn in self._mailed else None
        return Unknown(epn, (), (), None, None, None, reported)

    # What people and disks do.

    def _people(self) -> None:
        for name in self.world.to_release:
            if name in self.oracle.known:
                self.store.release_experiment(_experiment(name), self.world.clock)
                self.world.released[name] = self.world.clock
                self.world.note(f"a person releases {name[0]}/{name[1]}")
        self.world.to_release.clear()

    def _answer(self, states: Iterable[ExperimentState]) -> None:
        """People answer what the mail names; on quiet days all of it, else now and then."""
        world = self.world
        for item in states:
            if not item.needs_person or not (world.is_quiet or world.random.random() < 0.2):
                continue
            if item.left is SkipReason.COPY_MISSING or self._is_lost(item):
                assert item.copy is not None
                self.store.refetch_copy(item.copy)
                place = str(item.copy.copy.destination)
                self.oracle.asked_again(name_of(item.experiment), place)
                world.released.pop(name_of(item.experiment), None)
                world.note(f"a person has {item.experiment.epn} fetched again")
            elif item.left is SkipReason.SAME_DESTINATION:
                world.config.path = "{project}/{beamline}/{epn}/data"
                world.note("a person puts {beamline} into destination-path")

    def _is_lost(self, item: ExperimentState) -> bool:
        """Whether a copy is not there although its file system is: others are lost, too."""
        if item.left is not SkipReason.UNMOUNTED or item.copy is None:
            return False
        folder = str(item.copy.copy.project_folder)
        absent = item.copy.presence is Presence.UNMOUNTED
        return absent and self.world.project_state(folder) == "there"

    def _back_up(self) -> None:
        if self.world.day % 7:
            return
        world = self.world
        self._backups.append(
            (world.day, self.store.back_up(), self.oracle.snapshot(), list(world.ignore),
             set(world.persons), set(world.original), set(world.removed), dict(world.released))
        )  # fmt: skip
        del self._backups[:-2]

    def _restore(self) -> None:
        kind, self.world.restore = self.world.restore, None
        if kind is None or not self._backups:
            return
        world = self.world
        day, store, known, ignore, persons, original, removed, released = self._backups[0]
        self.store.restore(store)
        self.oracle.restored(known)
        world.released = dict(released)
        if kind is Kind.RESTORE:
            world.ignore, world.persons, world.removed = list(ignore), set(persons), set(removed)
            world.original = set(original)
        for one in self.oracle.known.values():  # nobody has read what was changed since
            for destination, arrival in one.arrivals.items():
                tree = world.tree(destination)
                if tree and any(tree.get(path) != what for path, what in arrival.files.items()):
                    world.touched.add(destination)
        world.note(f"state is as it was on day {day}")

    # What is true.

    def _facts(self) -> Facts:
        world = self.world
        homes = {}
        for name in self.oracle.known:
            project, destination = world.config.destination(name)
            folder = world.project_folder_of(destination)
            mounted = project is not None and world.project_state(folder) != "absent"
            homes[name] = Home(project, destination, folder, mounted)
        trees = {
            destination: world.tree(destination)
            for known in self.oracle.known.values()
            for destination in known.arrivals
        }
        return Facts(
            day=world.day,
            now=world.now,
            clock_right=not world.skew,
            portal_whole=not self.asking.portal_troubles(),
            listed=Kind.SFTP_DOWN not in world.down,
            mail_taken=Kind.NO_MAIL not in world.down,
            homes=homes,
            trees=trees,
            skipped=frozenset(world.persons),
            removed=frozenset(world.removed),
            originals=self.asking.originals or {},
            released=dict(world.released),
            touched=frozenset(world.touched),
            fetch_visible=world.config.fetch_visible,
            recheck=timedelta(days=world.config.recheck_days),
            due_days=world.config.due_days,
            only_new=world.config.only_new,
        )


def _said(item: ExperimentState) -> StateSaid:
    return StateSaid(name_of(item.experiment), item.state.name, item.needs_person, item.reason)


def _experiment(name: Name) -> Experiment:
    return Experiment(name[0], Epn(name[1]))


def run_world(seed: int, days: int, store: Store | None = None) -> Result:
    """Run one world; the store in memory, unless another is given."""
    began = time.process_time()
    result = Runner(World(seed, days), store or MemoryStore()).run()
    result.seconds = time.process_time() - began
    return result
