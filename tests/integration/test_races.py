"""A member of a project swaps folders for links all the time: nothing outside it is touched."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import tests.tools.swap_links
from simulator.compare import compare_trees
from tests.conftest import Home, as_user, give

SECONDS = 60
FILES = [f"frames/s{folder}/f{number}.h5" for folder in (0, 1) for number in range(20)]


def prepared(home: Home, engine: str) -> Path:
    source = home.facility.experiment("mx", "12282a")
    for name in FILES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"measured " * 500)
    give(source)
    home.visit("12282a", ended=48)
    home.configure(engine=engine, verify="source")
    assert home.once().returncode == 0
    return source


def canaries(home: Home) -> Path:
    """A folder outside the project with files of the same names, which the service may write."""
    outside = home.place / "outside"
    for name in FILES:
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_bytes(b"canary")
    give(outside)
    return outside


def seen(folder: Path) -> list[tuple[str, int, int, bytes]]:
    found = []
    for path in sorted(folder.rglob("*")):
        of = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found.append((str(path), of.st_mode, of.st_mtime_ns if data else 0, data))
    return found


@contextmanager
def swapping(home: Home, outside: Path) -> Iterator[Callable[[], int]]:
    """A member at work; ended by the function that it yields, which says how many swaps it made."""
    script = tests.tools.swap_links.__file__
    command = [*as_user(), sys.executable, script, str(home.copy("12282a")), str(outside)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as member:

        def end() -> int:
            member.send_signal(signal.SIGTERM)
            out, _ = member.communicate(timeout=10)
            return int(out)

        try:
            yield end
        finally:
            if member.poll() is None:
                member.kill()


def transfer(home: Home, source: Path, turn: int) -> Any:
    for name in FILES[turn % 7 :: 7]:
        (source / name).write_bytes(b"measured again " * (300 + turn))
    give(source)
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db, db:
        db.execute("UPDATE experiments SET changed = '2999-01-01 00:00:00.000000'")
    return home.once()


def command(*arguments: str) -> Callable[[Home, Path, int], Any]:
    def run(home: Home, _source: Path, turn: int) -> Any:
        path = home.copy("12282a") / FILES[turn % len(FILES)]
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            found = os.fstat(descriptor)
            if found.st_size > 100:  # a canary is smaller
                os.pwrite(descriptor, b"XX", 0)
                os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.close(descriptor)
        except OSError:
            pass
        return home.program.run("asynchy", "--config", home.config, *arguments)

    return run


WORK = {
    "transfer": transfer,
    "verify": command("verify", "12282a", "--again"),
    "audit": command("audit", "12282a"),
    "receipt": command("receipt", "12282a"),
}


@pytest.mark.extra
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("what", "engine"), [*((what, "sftp") for what in WORK), ("transfer", "rsync")]
)
def test_whatever_a_member_swaps_nothing_outside_the_project_changes(
    home: Home, what: str, engine: str, record_property: Callable[[str, object], None]
) -> None:
    source, outside = prepared(home, engine), canaries(home)
    before = seen(outside)
    turns, until = 0, time.monotonic() + SECONDS
    with swapping(home, outside) as end:
        while time.monotonic() < until:
            run = WORK[what](home, source, turns)
            assert run.returncode in {0, 1}, run.stdout + run.stderr
            turns += 1
        swaps = end()
    record_property("swaps", swaps)
    record_property("turns", turns)
    assert seen(outside) == before
    assert turns > 1 and swaps > 1000

    # Once the member has gone, all comes right.
    verify = ("asynchy", "--config", home.config, "verify", "12282a", "--again", "--restore")
    run = home.program.run(*verify)
    assert run.returncode == 0, run.stdout + run.stderr
    # A folder that the service made again while the member's was away is one more of the member's.
    differences = compare_trees(source, home.copy("12282a"))
    assert [line for line in differences if not line.startswith("not in the source")] == []
