"""A host that is paused for longer than its lease does no harm; on one PostgreSQL, two processes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from tests.conftest import Home, comes_in_part, give, wait_until
from tests.tools.postgres import server

_SIZE = 600_000_000


def tree_of(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            todo += map(int, task.read_text().split())
    return found


def facts(copy: Path) -> dict[str, tuple[int, ...]]:
    """What would tell that anything was written to a copy, or beside it."""
    found = {}
    for path in [copy.parent, *sorted(copy.parent.rglob("*"))]:
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_process_that_was_stopped_for_longer_than_its_lease_writes_nothing_more(
    home: Home, engine: str
) -> None:
    database = server().new_database()
    server().execute("ALTER ROLE asynchy PASSWORD 'pw'")
    home.configure(
        catalogue=server().url(database, tcp=True), catalogue_password="pw", engine=engine
    )
    source = home.facility.experiment("mx", "12282a")
    with (source / "huge.h5").open("wb") as file:
        file.truncate(_SIZE)
    for number in range(20):
        (source / f"frame_{number}.cbf").write_bytes(b"%d" % number * 1000)
    give(source)
    home.visit("12282a")
    copy = home.copy("12282a")
    with home.serving("--once") as first:
        wait_until(lambda: comes_in_part(copy))
        stopped = tree_of(first.pid)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        assert not (copy / "huge.h5").exists(), "it was too fast"
        server().execute("UPDATE claims SET heartbeat = heartbeat - interval '11 min'", database)
        second = home.once()
        assert second.returncode == 0, second.stdout + second.stderr
        assert compare_trees(source, copy) == []
        before = facts(copy)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        out, err = first.communicate(timeout=120)
    assert first.returncode == 1, out + err
    assert "for minutes, and lost its lease of this copy: " in " ".join((out + err).split())
    assert facts(copy) == before
    assert compare_trees(source, copy) == []
    (record,) = home.status("12282a")
    assert record["completed"] is not None
    verdicts = [one["verdict"] for one in record["history"]]
    assert verdicts == ["interrupted", "complete"]
    assert subprocess.run(
        ["psql", server().url(database), "-Atc", "SELECT lease FROM attempts ORDER BY id"],
        capture_output=True, text=True, check=True,
    ).stdout.split() == ["1", "2"]  # fmt: skip
