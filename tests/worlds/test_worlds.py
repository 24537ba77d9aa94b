"""Worlds drawn from seeds, and the stand-in for the catalogue that makes them fast."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.errors import DestinationTaken
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.epn import Epn
from asynchy.model.experiment import BrokenLink, Copy, Experiment, ListingDiff, LocatedExperiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.observed import FolderSeen
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.model.verification import Level
from asynchy.model.visit import EquipmentVisits, Visit
from tests.worlds.memory_catalogue import MemoryStore, Store
from tests.worlds.run import run_world
from tests.worlds.sqlite_store import SqliteStore

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_in_twenty_worlds_of_a_hundred_days_nothing_falls_through(first: int) -> None:
    for seed in range(first, first + 20):
        result = run_world(seed, 100)
        assert not result.findings, f"seed {seed}: {result.findings[0]}"


@contextmanager
def sqlite_store(folder: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(folder / "catalogue.db")
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_world_on_the_catalogue_goes_as_it_goes_in_memory(seed: int, tmp_path: Path) -> None:
    in_memory = run_world(seed, 30)
    with sqlite_store(tmp_path) as store:
        stored = run_world(seed, 30, store)
    assert not stored.findings, str(stored.findings[0])
    assert stored.log == in_memory.log


@pytest.mark.parametrize("seed", range(4))
def test_the_same_operations_give_the_same_records(seed: int, tmp_path: Path) -> None:
    with sqlite_store(tmp_path) as stored:
        memory = MemoryStore()
        operations = Operations(seed)
        for number in range(50):
            operate = operations.draw()
            done = [operate(memory), operate(stored)]
            assert done[0] == done[1], f"operation {number}"
            assert records(memory) == records(stored), f"operation {number}: {operations.name}"
            assert memory.answered_until() == stored.answered_until()


def records(store: Store) -> list[ExperimentRecord]:
    """The records without what a state does not depend on, and without numbers of rows."""
    return [
        replace(
            record,
            listed=None,
            release_reason=None,
            copies=tuple(
                replace(one, id=0, copy=replace(one.copy, source=""), verified=None)
                for one in record.copies
            ),
        )
        for record in store.records()
    ]


class Operations:
    """Operations of a cycle and of people, drawn from a seed, for any store."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._now = BEGIN
        self._contents = {f"1228{at}a": {"a": (at + 1, 1000)} for at in range(3)}
        self.name = ""

    def draw(self) -> Callable[[Store], object]:
        self._now += timedelta(hours=self._random.choice([1, 24, -5, 24 * 30]))
        operations = [
            self._visits, self._see, self._entries, self._note, self._fetch, self._fetch,
            self._fetch, self._unlisted, self._release, self._refetch, self._mailed, self._change,
        ]  # fmt: skip
        operation = self._random.choice(operations)
        self.name = operation.__name__
        return operation()

    def _copy(self) -> Copy:
        epn = self._random.choice(sorted(self._contents))
        beamline = self._random.choice(["mx1", "mx1", "mx2"])
        project = Path("/home") / self._random.choice(["p1", "p1", "p2"])
        return Copy(
            Experiment(beamline, Epn(epn)), project.name, f"/data/{beamline}/{epn}", project,
            project / epn / "data",
        )  # fmt: skip

    def _visits(self) -> Callable[[Store], object]:
        now = self._now
        visits = [
            Visit(
                str(at),
                self._copy().epn,
                now + timedelta(days=self._random.randint(-9, 3)),
                now + timedelta(days=self._random.randint(3, 6)),
            )
            for at in range(self._random.randint(0, 3))
        ]
        since = now - timedelta(days=self._random.choice([3, 30]))
        problem = self._random.choice([None, None, "down"])
        number, beamline = self._random.choice([(23, "mx1"), (24, "mx2")])
        answer = EquipmentVisits(number, beamline, tuple(visits), (), problem, since, now)
        return lambda store: store.keep_visits([answer], now)

    def _see(self) -> Callable[[Store], object]:
        now, located, broken = self._now, [], []
        beamline = self._random.choice(["mx1", "mx2"])
        for epn in sorted(self._contents):
            experiment, source = Experiment(beamline, Epn(epn)), f"/data/{beamline}/{epn}"
            drawn = self._random.random()
            if drawn < 0.6:
                located.append(LocatedExperiment(experiment, source, "/x" if drawn < 0.1 else None))
            elif drawn < 0.7:
                broken.append(BrokenLink(source, "/y", "it leads to nothing", experiment))
        seen = FolderSeen(f"/data/{beamline}", tuple(located), tuple(broken))
        return lambda store: store.see(seen, now)

    def _entries(self) -> Callable[[Store], object]:
        now = self._now
        epns = [epn for epn in sorted(self._contents) if self._random.random() < 0.5]
        ours = {epn: IgnoreEntry(Origin.OURS, now) for epn in epns[:1]}
        marks = dict(zip(epns[1:], (Origin.OURS, Origin.PERSON), strict=False))
        said = {epn: marks.get(epn) for epn in epns}
        stored = self._random.random() < 0.9

        def operate(store: Store) -> object:
            found = store.entries(said, now, store=stored)
            store.add_entries(ours)
            return found

        return operate

    def _note(self) -> Callable[[Store], object]:
        now, one, other = self._now, self._copy().experiment, self._copy().experiment
        return lambda store: store.note({one: ("p1", "late")}, {other} - {one}, now)

    def _mailed(self) -> Callable[[Store], object]:
        now, epn = self._now, self._copy().epn
        return lambda store: store.mailed([epn], now)

    def _change(self) -> Callable[[Store], object]:
        epn = self._random.choice(sorted(self._contents))
        path = self._random.choice("abc")
        if self._random.random() < 0.3 and len(self._contents[epn]) > 1:
            self._contents[epn].pop(path, None)
        else:
            self._contents[epn][path] = (
                self._random.randrange(9),
                1000 + self._random.randrange(9),
            )
        return lambda store: None

    def _fetch(self) -> Callable[[Store], object]:
        wanted, now = self._copy(), self._now
        files = dict(self._contents[wanted.epn.text])
        there = {path: what for path, what in files.items() if self._random.random() < 0.8}
        verdict = self._random.choice([Verdict.COMPLETE, Verdict.COMPLETE, *Verdict])
        whole = verdict is Verdict.COMPLETE

        def operate(store: Store) -> object:
            if taken(store, wanted, now):
                return "taken"
            listing = store.list_files(wanted, files, there, now)
            store.note_losses(wanted, survey_of(files, now, listing))
            number = store.acquire_lease(wanted, now)
            listing_diff = None
            if whole or verdict in (Verdict.TRANSFERRED, Verdict.CHANGED):
                listing_diff = survey_of(files, now, store.list_files(wanted, files, files, now))
                if verdict is not Verdict.CHANGED:
                    store.hold(number, listing_diff, Level.TRANSPORT)
            store.record(number, attempt_of(verdict, now), listing_diff)
            store.release_claim(number)
            return verdict

        return operate

    def _unlisted(self) -> Callable[[Store], object]:
        wanted, now = self._copy(), self._now

        def operate(store: Store) -> object:
            try:
                store.record_unlisted(wanted, attempt_of(Verdict.FAILED, now))
            except DestinationTaken:
                return "taken"
            return "unlisted"

        return operate

    def _release(self) -> Callable[[Store], object]:
        now, number = self._now, self._random.random()

        def operate(store: Store) -> object:
            known = [record.experiment for record in store.records() if record.seen]
            if known:
                store.release_experiment(known[int(number * len(known))], now)
            return known

        return operate

    def _refetch(self) -> Callable[[Store], object]:
        number = self._random.random()

        def operate(store: Store) -> object:
            copies = [one for record in store.records() for one in record.copies]
            if copies:
                store.refetch_copy(copies[int(number * len(copies))])
            return len(copies)

        return operate


def taken(store: Store, wanted: Copy, now: datetime) -> bool:
    """Whether the place belongs to another experiment."""
    try:
        store.release_claim(store.acquire_lease(wanted, now))
    except DestinationTaken:
        return True
    return False


def survey_of(files: dict[str, tuple[int, int]], now: datetime, listing: int) -> ListingDiff:
    size = sum(one for one, _ in files.values())
    return ListingDiff(now, len(files), size, 0, 0, 0, 0, str(sorted(files)), listing)


def attempt_of(verdict: Verdict, now: datetime) -> Attempt:
    return Attempt(
        started=now, ended=now + timedelta(minutes=1), host="here", pid=1, engine="sftp",
        chosen=None, check="transport", compare="time", verdict=verdict, exit_code=0, files=0,
        bytes=0, listed_at=now, listed_files=0, listed_bytes=0, reason=None, stderr="",
    )  # fmt: skip
