"""The catalogue locked, its disk full, its writer killed: in a walk, an import, a sync, a take-over."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from tests.conftest import Group, give, scripts, wait_until, with_small_disk

pytestmark = pytest.mark.extra

ROWS = 200_000


def original(path: Path, *, first: int = 0, rows: int = ROWS) -> Path:
    """A database of the original as-walker, by its own statement."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE files (epn TEXT, path TEXT UNIQUE, size INTEGER, modified DATETIME)"
        )
        db.executemany(
            "INSERT INTO files VALUES ('12282a', ?, ?, '2019-07-01 08:00:00')",
            ((f"/data/mx/12282a/frames/f{at:08}.cbf", at) for at in range(first, first + rows)),
        )
    return give(path)


def totals(path: Path) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT files, bytes FROM experiments").fetchall()
        assert db.execute("SELECT count(*), sum(size) FROM files").fetchall() == kept
        return [tuple(row) for row in kept]


def rows_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM files").fetchone()[0])
        except sqlite3.Error:
            return 0  # the copy was cut short


WHOLE = [(ROWS, ROWS * (ROWS - 1) // 2)]


def stopped_once(
    process: subprocess.Popen[str], what: Callable[[], bool], seconds: float = 60
) -> None:
    """Stop a process once something is so.

    It is stopped for each look: it could be done between a look and what is to follow.
    """

    def look() -> bool:
        process.send_signal(signal.SIGSTOP)
        if not (found := what()):
            process.send_signal(signal.SIGCONT)
        return found

    wait_until(look, seconds)


def hold(group: Group, process: subprocess.Popen[str]) -> sqlite3.Connection:
    """Take the catalogue for ourselves once there is something in it.

    A lock that waits would lose to a writer that comes back at once.
    """
    catalogue = sqlite3.connect(group.place / "catalogue.db", isolation_level=None, timeout=0)

    def taken() -> bool:
        with suppress(sqlite3.OperationalError):
            if group.listed:
                catalogue.execute("BEGIN IMMEDIATE")
        return catalogue.in_transaction

    stopped_once(process, taken)
    process.send_signal(signal.SIGCONT)
    return catalogue


def test_a_walk_waits_for_the_catalogue(group: Group) -> None:
    for number in range(12):  # each is written once it is done
        group.many_folders(f"{10_000 + number}a", 1000)
    with group.program.start("as-walker", "--config", group.config) as process:
        wait_until((group.place / "catalogue.db").exists)
        with closing(hold(group, process)) as ours:
            so_far = group.listed
            with pytest.raises(subprocess.TimeoutExpired):
                process.communicate(timeout=3)
            assert group.listed == so_far < 12_000
            ours.execute("ROLLBACK")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert group.listed == 12_000


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_an_import_that_is_killed_is_whole_after_the_next(group: Group, part: float) -> None:
    made = original(group.place / "walk.db")
    command = ("asynchy", "--config", group.config, "catalogue", "import", made)
    with group.program.start(*command) as process:
        wait_until((group.place / "catalogue.db-wal").exists)
        # It goes on for a moment at a time.
        stopped_once(process, lambda: group.listed > part * ROWS, 200)
        process.kill()
        process.communicate()
    assert group.listed < ROWS
    run = group.asynchy("catalogue", "import", made)
    assert run.returncode == 0, run.stderr
    assert totals(group.place / "catalogue.db") == WHOLE


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.0])
def test_a_take_over_that_is_killed_leaves_the_old_or_the_new(group: Group, seconds: float) -> None:
    database = original(group.place / "catalogue.db")
    before = database.read_bytes()
    command = ("asynchy", "--config", group.config, "catalogue", "import", group.place / "nope")
    with group.program.start(*command) as process:
        wait_until((group.place / "catalogue.db.original").exists)
        deadline = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= deadline or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    if database.read_bytes() != before:
        assert totals(database) == WHOLE
    run = group.asynchy("catalogue", "import", group.place / "nope")
    assert (run.returncode, "is not there" in run.stderr) == (1, True)
    assert totals(database) == WHOLE
    kept = sorted(group.place.glob("catalogue.db.original*"))
    assert any(rows_of(path) == ROWS for path in kept)
    assert not list(group.place.glob(".catalogue.db.new*"))


def on_small_disk(group: Group, megabytes: int, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run commands where the folder `state` is a file system of that size."""
    state = group.place / "state"
    state.mkdir(exist_ok=True)
    return with_small_disk(state, f"mode=755,size={megabytes}m", group.place, *commands)


def test_a_walk_on_a_full_disk_says_so_and_goes_on_where_there_is_room(group: Group) -> None:
    group.many_folders("12282a", 12_000)
    group.configure(catalogue="state/catalogue.db")
    walk = f"{scripts()}/as-walker --config {group.config}"
    run = on_small_disk(
        group, 1, walk, "echo $? > first", "mount -o remount,size=100m state", walk,
        "echo $? > second; cp state/catalogue.db state/catalogue.db-wal . 2>/dev/null",
    )  # fmt: skip
    assert (group.place / "first").read_text() == "5\n", run.stderr
    assert "database or disk is full" in run.stderr
    assert (group.place / "second").read_text() == "0\n", run.stderr
    assert totals(group.place / "catalogue.db") == [(12_000, 12_000)]


def test_an_import_on_a_full_disk_says_so_and_is_whole_where_there_is_room(group: Group) -> None:
    made = original(group.place / "walk.db")
    group.configure(catalogue="state/catalogue.db")
    take = f"{scripts()}/asynchy --config {group.config} catalogue import {made}"
    run = on_small_disk(
        group, 4, take, "echo $? > first", "mount -o remount,size=200m state", take,
        "echo $? > second; cp state/catalogue.db state/catalogue.db-wal . 2>/dev/null",
    )  # fmt: skip
    assert (group.place / "first").read_text() == "5\n", run.stderr
    assert "database or disk is full" in run.stderr
    assert (group.place / "second").read_text() == "0\n", run.stderr
    assert totals(group.place / "catalogue.db") == WHOLE


def test_a_sync_whose_catalogue_is_full_fetches_nothing_twice(group: Group) -> None:
    source = group.experiment("12282a")
    group.configure(catalogue="state/catalogue.db")
    (group.place / "vault").mkdir()
    give(group.place)
    sync = f"{scripts()}/asynchy --config {group.config} sync --dest {group.place}/vault"
    run = on_small_disk(
        group, 2, f"{scripts()}/as-walker --config {group.config}",
        "cat /dev/zero > state/filler 2>/dev/null", sync, "echo $? > first",
        "rm state/filler", sync, "echo $? > second", sync, "echo $? > third",
    )  # fmt: skip
    assert (group.place / "first").read_text() == "5\n", run.stderr
    assert "see whether its disk is full" in run.stderr, run.stderr + run.stdout
    assert (group.place / "second").read_text() == "0\n", run.stderr
    assert (group.place / "third").read_text() == "0\n", run.stderr
    assert run.stdout.count("1 experiment completed, 0 still due.") == 1
    assert compare_trees(source, group.place / "vault" / "12282a", modes=False) == []
