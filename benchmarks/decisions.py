"""How long it takes to decide: a cycle with nothing due, and `asynchy status`, over many copies.

`python -m benchmarks.decisions`, with COPIES (20000), ENTRIES (10000) and ROUNDS (3), makes a
simulated facility with one small experiment for each copy, a catalogue in which all of them are
complete, and an `ignore.yml` with that many entries. Then it runs the commands, and prints the
wall time of each round, start-up included, with the median, and the processor's median.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asynchy.catalogue import Catalogue
from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import attempts, copies, experiments, ignore_entries, visits
from asynchy.model.verification import Level
from simulator.config import write_config
from simulator.facility import Facility
from simulator.scratch import new_folder, remove

NOW = datetime.now(UTC).replace(microsecond=0)
PROJECTS = 40
EPNS = 20
"""Of one proposal."""


def main() -> int:
    """Make it, measure it, remove it."""
    number = int(os.environ.get("COPIES", "20000"))
    entries = int(os.environ.get("ENTRIES", "10000"))
    rounds = int(os.environ.get("ROUNDS", "3"))
    place = new_folder("asynchy-decisions-")
    try:
        (place / "facility").mkdir()
        (place / "home" / "logs").mkdir(parents=True)
        with Facility(place / "facility") as facility:
            config = str(_make(place / "home", facility, number, entries))
            scripts = Path(sys.executable).parent
            _measure("cycle, nothing due", [str(scripts / "mxsync"), "--config", config], rounds)
            _measure("status", [str(scripts / "asynchy"), "--config", config, "status"], rounds)
            one = [str(scripts / "asynchy"), "--config", config, "status", _epn(number - 1)]
            _measure("status EPN", one, rounds)
            report = [str(scripts / "asynchy"), "--config", config, "report", "at-risk"]
            _measure("report at-risk", report, rounds)
            # Last: its first round enters all EPNs that `ignore.yml` lacks, and backs up.
            cycle = [str(scripts / "mxsync"), "--config", config, "--execute", "--once"]
            _measure("cycle with --execute, nothing due", cycle, rounds)
    finally:
        remove(place)
    return 0


def _proposal(at: int) -> str:
    return str(10_000 + at // EPNS)


def _project(at: int) -> str:
    return f"p{at // EPNS % PROJECTS}"


def _epn(at: int) -> str:
    return f"{_proposal(at)}{chr(ord('a') + at % EPNS)}"


def _make(home: Path, facility: Facility, number: int, entries: int) -> Path:
    storage = home / "storage"
    for at in range(number):
        (facility.data / "mx" / _epn(at)).mkdir(parents=True)
        folder = storage / _project(at) / _epn(at) / "data"
        folder.mkdir(parents=True)
        (folder / "one").touch()
    mapping = {_proposal(at): _project(at) for at in range(0, number, EPNS)}
    config = write_config(home / "config.yml", facility, destination=storage, epn_cap_map=mapping)
    listed = "".join(f"- {_epn(at)}\n" for at in range(entries))
    (home / "ignore.yml").write_text(f"previouslySynched:\n{listed}")
    Catalogue.open(home / "catalogue.db")
    _fill(Database.open(home / "catalogue.db"), facility.data / "mx", storage, number, entries)
    return config


def _fill(database: Database, source: Path, storage: Path, number: int, entries: int) -> None:
    ended = NOW - timedelta(days=60)
    done = NOW - timedelta(days=40)
    with database.transaction() as db:
        db.execute(experiments.insert(), [
            {"id": at + 1, "beamline": "mx", "epn": _epn(at), "proposal": _proposal(at),
             "source": f"{source}/{_epn(at)}", "first_seen": ended, "last_seen": done,
             "files": 1, "bytes": 10}
            for at in range(number)
        ])  # fmt: skip
        db.execute(copies.insert(), [
            {"id": at + 1, "experiment_id": at + 1, "project": _project(at),
             "destination": str(storage / _project(at) / _epn(at) / "data"),
             "project_folder": str(storage / _project(at)),
             "completed": done, "completed_listing": done, "files": 1, "bytes": 10,
             "level": Level.SIZE, "verified": done}
            for at in range(number)
        ])  # fmt: skip
        db.execute(attempts.insert(), [
            {"copy_id": at + 1, "started": done, "ended": done, "host": "h", "pid": 1,
             "engine": "sftp", "check": "size", "compare": "time", "verdict": "complete",
             "stderr": ""}
            for at in range(number)
        ])  # fmt: skip
        db.execute(visits.insert(), [
            {"equipment": 23, "visit": str(at), "epn": _epn(at), "beamline": "mx",
             "start": ended - timedelta(hours=8), "end": ended, "title": "", "principal": None,
             "scientists": [], "told": done}
            for at in range(number)
        ])  # fmt: skip
        db.execute(ignore_entries.insert(), [
            {"epn": _epn(at), "origin": "ours", "since": done} for at in range(entries)
        ])  # fmt: skip


def _measure(what: str, command: Sequence[str | Path], rounds: int) -> None:
    taken, used = [], []
    for _ in range(rounds):
        began, before = time.monotonic(), _processor_time()
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        taken.append(time.monotonic() - began)
        used.append(_processor_time() - before)
        if ended.returncode not in (0, 1):
            raise SystemExit(f"{what}: exit code {ended.returncode}\n{ended.stderr}")
    each = ", ".join(f"{seconds:.2f}" for seconds in taken)
    median, processor = statistics.median(taken), statistics.median(used)
    print(f"{what}: median {median:.2f} s ({each}); processor {processor:.2f} s")


def _processor_time() -> float:
    """Seconds that the processes that have ended took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
