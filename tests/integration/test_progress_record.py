"""What a run writes of its transfers for others to read."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simulator.facility import Facility
from tests.conftest import Home, give, wait_until

SIZE = 3_000_000


def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    path = home.place / "catalogue.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # it is being made
            return []


def measured(facility: Facility, home: Home) -> Path:
    source = facility.experiment("mx", "12282a")
    (source / "raw.h5").write_bytes(os.urandom(SIZE))
    give(facility.data)
    home.visit("12282a")
    return source


def asynchy(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    return home.program.run("asynchy", "--config", home.config, *arguments)


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_all_bytes_that_arrived_are_in_the_samples_and_nothing_runs_afterwards(
    home: Home, facility: Facility, engine: str
) -> None:
    home.configure(engine=engine)
    measured(facility, home)
    run = home.once()
    assert run.returncode == 0, run.stdout + run.stderr
    assert rows(home, "SELECT sum(bytes) FROM samples") == [(SIZE,)]
    assert rows(home, "SELECT * FROM transfers") == []


def progress(home: Home) -> dict[str, Any]:
    """What `asynchy status --json` says of the one copy while something runs."""

    def told() -> Any:
        answer = home.program.run("asynchy", "--config", home.config, "status", "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)["copies"][0]["progress"]

    found: dict[str, Any] = wait_until(told)
    return found


def test_an_audit_and_a_verification_that_run_can_be_seen(home: Home, facility: Facility) -> None:
    measured(facility, home)
    assert home.once().returncode == 0
    command = ("asynchy", "--config", home.config)
    with home.program.start(*command, "audit", "--rate", "300kB") as process:
        try:
            seen = progress(home)
            assert (seen["doing"], seen["bytes"], seen["files"]) == ("auditing", SIZE, 1)
            text = home.program.run(*command, "status", "12282a").stdout
            assert ": auditing " in text and f" {home.copy('12282a')}" in text
        finally:
            process.kill()
    (home.copy("12282a") / "raw.h5").rename(home.copy("12282a") / "other.h5")
    home.configure(bandwidth_limit="300 kB")
    with home.program.start(*command, "verify") as process:
        try:
            seen = progress(home)
            assert (seen["doing"], seen["bytes"]) == ("fetching", SIZE)
        finally:
            process.kill()
    home.configure()
    assert home.program.run(*command, "verify").returncode == 0
    assert rows(home, "SELECT * FROM transfers") == []


def test_a_transfer_that_runs_can_be_seen_and_one_that_was_killed_is_not_counted_twice(
    home: Home, facility: Facility
) -> None:
    home.configure(bandwidth_limit="300 kB")
    measured(facility, home)
    with home.serving("--once") as process:
        (seen,) = wait_until(
            lambda: rows(home, "SELECT epn, bytes, done FROM transfers WHERE done")
        )
        assert seen[:2] == ("12282a", SIZE) and 0 < seen[2] < SIZE
        for command in (("forget", "12282a", "--reason", "not wanted"), ("refetch", "12282a")):
            run = asynchy(home, "copies", *command)
            assert run.returncode == 1
            assert f"process {process.pid} on" in run.stderr
        process.kill()
    for arguments in ((), ("12282a",)):
        said = " ".join(asynchy(home, "status", *arguments).stdout.split())
        assert "the process died in the middle of it; " in said
        assert " of 3.00 MB had arrived" in said
        assert "not fetched yet" not in said
    before = rows(home, "SELECT sum(bytes) FROM samples")[0][0]
    assert 0 < before < SIZE
    home.configure()
    assert home.once().returncode == 0
    after = rows(home, "SELECT sum(bytes) FROM samples")[0][0]
    assert before < after <= before + SIZE
    assert rows(home, "SELECT * FROM transfers") == []
