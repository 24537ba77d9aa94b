"""A world, day by day: asynchy's decisions on it, and what the oracle says of them.

What is decided is called from asynchy: since when the portal is asked, what its answers mean, the
state of each experiment, what is listed, fetched and entered, the exit code, the mail. Played here
is what moves: the portal's answers, listings, transfers, disks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from asynchy.domain.attempt import Attempt, EngineResult, Verdict
from asynchy.domain.copy_record import CopyRecord, Presence
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import BrokenLink, Copy, Experiment, Located, Survey
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.level import Level
from asynchy.domain.visit import Beamtime, EquipmentVisits, UnreadableVisit
from asynchy.domain.visit import Visit as Told
from asynchy.errors import DestinationTaken
from asynchy.plan.alert import Alert, Unknown, overdue, unknown_epns
from asynchy.plan.decide import Room, after_listing, one_a_destination, planned, when_absent
from asynchy.plan.due_notes import due_notes
from asynchy.plan.experiment_state import (
    CURRENT,
    DestinationRules,
    ExperimentState,
    IgnoreEntry,
    Origin,
    Policy,
    RecheckPolicy,
    experiment_state,
    owners_of,
    running_visits,
)
from asynchy.plan.ignore_rules import epns_to_add
from asynchy.plan.observed import FolderSeen, observed
from asynchy.plan.outcome import Due, Left, LeftOut, Plan, Transfer
from asynchy.plan.overview import attention, long_visits, overview_of, sentences
from asynchy.plan.verdict import judge
from asynchy.plan.visit_window import ask_since, before
from asynchy.service.ask import SKEW
from asynchy.service.bring import ROUNDS, Outcome
from asynchy.service.work import exit_code_for
from tests.worlds.memory_catalogue import MemoryStore, Store
from tests.worlds.oracle import Arrival, Facts, Finding, Home, Oracle, Said, StateSaid
from tests.worlds.world import EQUIPMENT, Files, Kind, Name, World

_AHEAD = 2 * CURRENT
_ROOM = Room(10**15, None)
_LONG_VISIT = timedelta(days=7)


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

    def told(self) -> EquipmentVisits:
        return EquipmentVisits(
            self.equipment, self.beamline, tuple(self.visits.values()), tuple(self.unreadable),
            self.problem, self.since, self.until,
        )  # fmt: skip


@dataclass(frozen=True)
class _Seen:
    """What a command knows once it has asked and looked."""

    states: tuple[ExperimentState, ...]
    policy: Policy
    answers: tuple[EquipmentVisits, ...]
    ignored: Mapping[str, IgnoreEntry]
    unlisted: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(answer.problem for answer in self.answers if answer.problem)


class Runner:
    """Runs one world."""

    def __init__(self, world: World, store: Store) -> None:
        self.world = world
        self.store = store
        self.oracle = Oracle()
        self.result = Result(world.seed, world.days)
        self._backups: list[tuple[Any, ...]] = []
        self._last_read: set[str] = set()
        self._first_read: datetime | None = None
        self._pending = False
        self._mailed: set[Epn] = set()
        self._originals: dict[str, datetime] = {}

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
        return self.result

    def _day(self) -> list[Finding]:
        seen = self._observe(self._ask())
        code = self._cycle(seen)
        after = self._observe(self._ask_for_mail())
        mail, notes = self._mail(after)
        self.states = after.states
        self.result.states += len(after.states)
        self.said = said = Said(
            states=tuple(_said(item) for item in after.states),
            exit_code=code,
            mail=mail,
            notes=notes,
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

    # What is asked.

    def _ask(self) -> tuple[EquipmentVisits, ...]:
        """As `service.ask`: the current visits, then further back."""
        now, days = self.world.clock, self.world.config.day_range
        answered = self.store.answered_until(tuple(EQUIPMENT))
        entries = [
            _Answers(number, beamline, now + _AHEAD, now + _AHEAD)
            for number, beamline in EQUIPMENT.items()
        ]
        self._reach(entries, now)
        for _ in range(5):
            known = [
                Beamtime(one, entry.beamline) for entry in entries for one in entry.visits.values()
            ]
            since = ask_since(known, answered, now, days)
            if all(entry.since <= since or entry.failure for entry in entries):
                break
            self._reach(entries, since)
        else:
            for entry in entries:
                entry.failure = entry.failure or "visits without end"
        self._doubt_clock(entries)
        for entry in entries:
            if entry.problem is None:
                self.oracle.cycle_asked(entry.equipment, entry.since, now)
        return self._told(entries)

    def _ask_for_mail(self) -> tuple[EquipmentVisits, ...]:
        now = self.world.clock
        entries = [_Answers(number, beamline, now, now) for number, beamline in EQUIPMENT.items()]
        self._reach(entries, before(now, self.world.config.day_range))
        self._doubt_clock(entries)
        return self._told(entries)

    def _doubt_clock(self, entries: Iterable[_Answers]) -> None:
        """As `service.ask`: the portal's answers tell its time, unless there is none."""
        down = set(self.world.down.get(Kind.PORTAL_DOWN, ()))  # type: ignore[call-overload]
        if abs(self.world.skew.total_seconds()) > SKEW and not down >= set(EQUIPMENT):
            for entry in entries:
                entry.failure = entry.failure or "this machine's clock is wrong"

    def _reach(self, entries: Iterable[_Answers], since: datetime) -> None:
        down = self.world.down
        for entry in entries:
            if entry.failure is not None or since >= entry.since:
                continue
            if entry.equipment in down.get(Kind.PORTAL_DOWN, ()):  # type: ignore[operator]
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
            if unreadable is not None and EQUIPMENT[entry.equipment] == unreadable[0]:  # type: ignore[index]
                bad = UnreadableVisit(Epn(unreadable[1]), "no end")  # type: ignore[index]
                entry.unreadable.append(bad)
                for number in [n for n, one in entry.visits.items() if one.epn == bad.epn]:
                    del entry.visits[number]

    def _told(self, entries: Iterable[_Answers]) -> tuple[EquipmentVisits, ...]:
        answers = tuple(entry.told() for entry in entries)
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

    def _observe(self, answers: tuple[EquipmentVisits, ...]) -> _Seen:
        now = self.world.clock
        ignored = self.store.entries(frozenset(self.world.ignore), now)
        self._read(ignored)
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
            running=running_visits((item for one in records for item in one.beamtimes), now),
            ignored=ignored,
            recheck=RecheckPolicy(now, timedelta(days=config.recheck_days))
            if config.recheck_days
            else None,
            fetch_visible=config.fetch_visible,
            owners=owners_of(records),
        )
        states = tuple(experiment_state(record, policy) for record in records)
        return _Seen(states, policy, answers, ignored, tuple(unlisted))

    def _read(self, ignored: Mapping[str, IgnoreEntry]) -> None:
        if self._first_read is None:
            self._first_read = self.world.clock
            self._originals = dict.fromkeys(self.world.ignore, self.world.clock)
            self.world.persons -= set(self.world.ignore)
        self._last_read = set(self.world.ignore)

    def _folders(self, now: datetime) -> tuple[list[FolderSeen], list[str]]:
        found, unlisted = [], []
        for beamline in EQUIPMENT.values():
            folder = f"/data/{beamline}"
            if beamline in self.world.down.get(Kind.SFTP_DOWN, ()):  # type: ignore[operator]
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
                    located.append(Located(experiment, source, target))
            found.append(FolderSeen(folder, tuple(located), tuple(broken)))
            self.store.see(found[-1], now)
            self.oracle.folder_listed(
                beamline, {epn: one.link == "broken" for epn, one in visible.items()}
            )
        return found, unlisted

    def _with_presence(self, records: Iterable[ExperimentRecord]) -> list[ExperimentRecord]:
        return [
            replace(one, copies=tuple(map(self._at_place, one.copies))) if one.copies else one
            for one in records
        ]

    def _at_place(self, copy: CopyRecord) -> CopyRecord:
        if not copy.was_complete:
            return copy
        presence = Presence.THERE
        tree = self.world.tree(str(copy.copy.destination))
        if tree is None:
            there = self.world.project_state(str(copy.copy.project_folder)) == "there"
            presence = Presence.MISSING if there else Presence.UNMOUNTED
        elif copy.files and not tree:
            presence = Presence.EMPTY
        return copy if presence is copy.presence else replace(copy, presence=presence)

    # What is done.

    def _cycle(self, seen: _Seen) -> int | None:
        """The plan, carried out; its exit code, None: the process was killed."""
        transfers, left_out = self._fitting(seen)
        plan = Plan(
            transfers=tuple(transfers),
            left_out=tuple(left_out),
            problems=seen.problems,
            unlisted=seen.unlisted,
            states=seen.states,
            ignored=frozenset(
                epn for epn, entry in seen.ignored.items() if entry.origin is not Origin.REMOVED
            ),
            notices=long_visits(seen.states, seen.policy, _LONG_VISIT),
        )
        self.result.transfers += len(transfers)
        outcomes = []
        for transfer in transfers:
            if Kind.CRASH in self.world.down:
                self._be_killed(transfer)
                return None
            outcomes.append(self._bring(transfer, plan.unsure))
        done = {outcome.copy.experiment for outcome in outcomes if outcome.complete}
        new = epns_to_add(plan.states, plan.ignored, done)
        now = self.world.clock
        self.store.add_entries({epn.text: IgnoreEntry(Origin.OURS, now) for epn in new})
        self.world.ignore += [epn.text for epn in new if epn.text not in self.world.ignore]
        self.world.removed -= set(self.world.ignore)
        self._last_read = set(self.world.ignore)
        failed = [
            (outcome.copy, outcome.reason or outcome.verdict.value)
            for outcome in outcomes
            if not outcome.complete
        ]
        notes = due_notes(plan, failed, done)
        self.store.note(notes.undone, notes.done, now)
        return int(exit_code_for(plan, tuple(outcomes)))

    def _fitting(self, seen: _Seen) -> tuple[list[Transfer], list[LeftOut]]:
        decided = [item for item in map(planned, seen.states) if item is not None]
        transfers: list[Transfer] = []
        left_out: list[LeftOut] = []
        for item in one_a_destination(decided):
            decision = self._listed(item) if isinstance(item, Due) else item
            if isinstance(decision, Transfer):
                transfers.append(decision)
            else:
                left_out.append(decision)
        return transfers, left_out

    def _listed(self, due: Due) -> Transfer | LeftOut:
        """As `service.fitting`: whether the project is there, what the facility has."""
        project = str(due.copy.project_folder)
        if self.world.project_state(project) == "absent":
            return LeftOut(due.experiment, Left.NO_PROJECT_FOLDER, project, due.copy.project)
        left, reason = Left.UNLISTED, "no connection"
        beamline, epn = _name(due.experiment)
        folder = self.world.visible(beamline).get(epn)
        if beamline in self.world.down.get(Kind.SFTP_DOWN, ()):  # type: ignore[operator]
            pass
        elif folder is None:
            absent = when_absent(due)
            if not absent.reason.stays_due:
                return absent
            left, reason = absent.reason, absent.detail
        elif folder.link != "broken":
            survey = self._survey(due.copy)
            self.store.note_losses(due.copy, survey)
            return after_listing(due, survey, _ROOM)
        self._unlisted(due.copy, f"{left.text}: {reason}")
        return LeftOut(due.experiment, left, reason, due.copy.project)

    def _unlisted(self, copy: Copy, reason: str) -> None:
        self.oracle.not_completed(_name(copy.experiment), str(copy.destination))
        try:
            self.store.record_unlisted(copy, self._attempt(Verdict.FAILED, reason, None))
        except DestinationTaken as error:
            self.world.note(f"{copy.epn}: {error}")

    def _survey(self, copy: Copy) -> Survey:
        name, now = _name(copy.experiment), self.world.clock
        files = self._facility(name)
        at_home = self.world.tree(str(copy.destination)) or {}
        listing = self.store.list_files(copy, files, at_home, now)
        self.oracle.experiment_listed(name, dict(files))
        missing = [
            size for path, (size, when) in files.items() if at_home.get(path) != (size, when)
        ]
        return Survey(
            listed_at=now,
            files=len(files),
            bytes=sum(size for size, _ in files.values()),
            folders=1,
            left_out=0,
            missing_files=len(missing),
            missing_bytes=sum(missing),
            missing_folders=0,
            fingerprint=str(sorted(files.items())),
            listing=listing,
        )

    def _facility(self, name: Name) -> Files:
        folder = self.world.folders.get(name)
        return {} if folder is None else folder.files

    def _bring(self, transfer: Transfer, unsure: str | None) -> Outcome:
        """As `service.bring`: fetch, list again, judge, record."""
        copy, before_ = transfer.copy, transfer.survey
        name, destination = _name(copy.experiment), str(copy.destination)
        try:
            copy_id = self.store.claim(copy, self.world.clock)
        except DestinationTaken as error:
            return Outcome(copy, Verdict.FAILED, error.message, error.hint)
        for rounds in range(ROUNDS):
            result = self._transfer(name, destination, rounds)
            after = self._survey(copy) if result.ok else None
            judgement = judge(result, before_, after, unsure=unsure)
            if judgement.all_at_home and after is not None:
                self.store.hold(copy_id, after, Level.TRANSPORT)
            attempt = self._attempt(judgement.verdict, judgement.reason, after)
            self.store.record(copy_id, attempt, after)
            self._tell_oracle(name, destination, after, judgement.verdict)
            if judgement.verdict is not Verdict.CHANGED or after is None:
                break
            before_ = after
        self.store.release_claim(copy_id)
        self.world.note(
            f"{name[0]}/{name[1]}: fetched ({transfer.why.value}): {judgement.verdict.value}"
        )
        return Outcome(copy, judgement.verdict, judgement.reason)

    def _transfer(self, name: Name, destination: str, rounds: int) -> EngineResult:
        """What an engine does: all that misses comes home, unless it breaks off."""
        files = dict(self._facility(name))
        fails = Kind.ENGINE_FAILS in self.world.down
        if fails:
            files = dict(sorted(files.items())[: len(files) // 2])
        self.world.write(destination, files)
        if rounds < int(self.world.down.get(Kind.CHANGES, 0)):  # type: ignore[call-overload]
            folder = self.world.folders[name]
            folder.files["changing"] = (rounds + 1, int(self.world.now.timestamp()) + rounds)
            self.world.unwatched.setdefault(name, set()).add("changing")
        return EngineResult(
            ok=not fails, exit_code=30 if fails else 0, files=len(files), bytes=0,
            reason="the connection broke off" if fails else None, hint=None, stderr="",
        )  # fmt: skip

    def _tell_oracle(
        self, name: Name, destination: str, after: Survey | None, verdict: Verdict
    ) -> None:
        """What is true of a transfer, whatever its verdict."""
        files = dict(self._facility(name))
        at_home = self.world.tree(destination) or {}
        whole = after is not None and all(at_home.get(path) == what for path, what in files.items())
        quiet = int(self.world.down.get(Kind.CHANGES, 0)) < ROUNDS  # type: ignore[call-overload]
        if after is None or not whole or (verdict is Verdict.CHANGED and not quiet):
            self.oracle.not_completed(name, destination)
            return
        sure = not self.world.skew and not self._portal_troubles()
        running = self.oracle.is_running(name, self.world.now)
        self.oracle.fetched(
            name, destination, Arrival(after.listed_at, files, sure and not running)
        )

    def _portal_troubles(self) -> bool:
        troubles = {Kind.PORTAL_DOWN, Kind.PORTAL_PARTLY, Kind.PORTAL_UNREADABLE}
        return bool(troubles & self.world.down.keys())

    def _be_killed(self, transfer: Transfer) -> None:
        copy = transfer.copy
        try:
            copy_id = self.store.claim(copy, self.world.clock)
        except DestinationTaken:
            return
        name = _name(copy.experiment)
        files = sorted(self._facility(name).items())
        self.world.write(str(copy.destination), dict(files[: len(files) // 2]))
        self.store.record(copy_id, self._attempt(Verdict.INTERRUPTED, "killed", None), None)
        self.store.release_claim(copy_id)
        self.oracle.not_completed(name, str(copy.destination))

    def _attempt(self, verdict: Verdict, reason: str | None, after: Survey | None) -> Attempt:
        now = self.world.clock
        return Attempt(
            started=now, ended=now + timedelta(minutes=1), host="here", pid=1, engine="sftp",
            chosen=None, check="transport", compare="time", verdict=verdict, exit_code=0,
            files=0, bytes=0, listed_at=after.listed_at if after else None,
            listed_files=after.files if after else None,
            listed_bytes=after.bytes if after else None, reason=reason, stderr="",
        )  # fmt: skip

    # What is mailed.

    def _mail(self, seen: _Seen) -> tuple[str | None, str]:
        """The text of the mail that was taken today; and what is said of the overview."""
        world, now = self.world, self.world.clock
        unknown = unknown_epns(seen.states)
        for answer in seen.answers:
            for visit in answer.unreadable:
                if visit.epn is not None and visit.epn.proposal not in world.config.mapping:
                    unknown.setdefault(visit.epn, [])
        notes = sentences(overview_of(seen.states))
        alert = Alert(
            unknown=tuple(self._unknown(epn) for epn in unknown),
            overdue=overdue(seen.states, world.config.due_days, now),
            problems=(*seen.unlisted, *seen.problems),
            attention=(
                *attention(seen.states, now),
                *long_visits(seen.states, seen.policy, _LONG_VISIT),
            ),
            notes=tuple(notes),
        )
        said = "; ".join(notes)
        if alert.anything and (self._pending or not world.config.only_new or alert.is_news):
            self._pending = Kind.NO_MAIL in world.down
            if not self._pending:
                epns = [item.epn for item in alert.unknown]
                self.store.mailed(epns, now)
                self._mailed.update(epns)
                names = [item.epn.text for item in alert.overdue]
                return "; ".join(
                    [*map(str, epns), *names, *alert.problems, *alert.attention, said]
                ), said
        return None, said

    def _unknown(self, epn: Epn) -> Unknown:
        from asynchy.plan.alert import Reported  # noqa: PLC0415

        reported = Reported(self.world.clock, 1) if epn in self._mailed else None
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
            if item.left is Left.COPY_MISSING:
                assert item.copy is not None
                self.store.refetch_copy(item.copy)
                place = str(item.copy.copy.destination)
                self.oracle.asked_again(_name(item.experiment), place)
                world.released.pop(_name(item.experiment), None)
                world.note(f"a person has {item.experiment.epn} fetched again")
            elif item.left is Left.SAME_DESTINATION:
                world.config.path = "{project}/{beamline}/{epn}/data"
                world.note("a person puts {beamline} into destination-path")

    def _back_up(self) -> None:
        if self.world.day % 7:
            return
        world = self.world
        self._backups.append(
            (world.day, self.store.back_up(), self.oracle.snapshot(), list(world.ignore),
             set(world.persons), set(world.removed), dict(world.released))
        )  # fmt: skip
        del self._backups[:-2]

    def _restore(self) -> None:
        kind, self.world.restore = self.world.restore, None
        if kind is None or not self._backups:
            return
        world = self.world
        day, store, known, ignore, persons, removed, released = self._backups[0]
        self.store.restore(store)
        self.oracle.restored(known)
        world.released = dict(released)
        if kind is Kind.RESTORE:
            world.ignore, world.persons, world.removed = list(ignore), set(persons), set(removed)
        else:
            ours = set(ignore) - persons
            world.unclear |= set(world.ignore) - ours - world.persons
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
            portal_whole=not self._portal_troubles(),
            listed=Kind.SFTP_DOWN not in world.down,
            mail_taken=Kind.NO_MAIL not in world.down,
            homes=homes,
            trees=trees,
            skipped=frozenset(world.persons),
            unclear=frozenset(world.unclear & set(world.ignore)),
            removed=frozenset(world.removed),
            originals=self._originals,
            released=dict(world.released),
            touched=frozenset(world.touched),
            fetch_visible=world.config.fetch_visible,
            recheck=timedelta(days=world.config.recheck_days),
            due_days=world.config.due_days,
            only_new=world.config.only_new,
        )


def _said(item: ExperimentState) -> StateSaid:
    return StateSaid(_name(item.experiment), item.state.name, item.needs_person, item.reason)


def _name(experiment: Experiment) -> Name:
    return experiment.beamline, experiment.epn.text


def _experiment(name: Name) -> Experiment:
    return Experiment(name[0], Epn(name[1]))


def run_world(seed: int, days: int, store: Store | None = None) -> Result:
    """Run one world; the store in memory, unless another is given."""
    began = time.process_time()
    result = Runner(World(seed, days), store or MemoryStore()).run()
    result.seconds = time.process_time() - began
    return result
