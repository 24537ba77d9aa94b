"""How fast files come into the catalogue, against a bare `sqlite3.executemany` of the same rows.

    ROWS=10000000 ROUNDS=3 python -m benchmarks.catalogue

Each measurement is a process of its own, so that its memory is its own; the ways take turns, and
a ratio is of one round. Rows are made: ten experiments, folders of 500 files each.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from asynchy.catalogue import Catalogue
from asynchy.catalogue.legacy_import import import_file
from asynchy.catalogue.scans import ScanWriter
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment, LocatedExperiment
from simulator.scratch import new_folder, remove

EXPERIMENTS = 10
FOLDER = 500
ANSWER = 100
"""Entries in an answer of OpenSSH's SFTP server."""


def main() -> None:
    """Measure, print a table, and write the figures as JSON to standard output."""
    rows = int(os.environ.get("ROWS", "1000000"))
    rounds = int(os.environ.get("ROUNDS", "3"))
    place = new_folder("asynchy-bench-")
    try:
        original = place / "original.db"
        _make_original(original, rows)
        found = [_round(place, original, rows) for _ in range(rounds)]
    finally:
        remove(place)
    figures = {
        "rows": rows,
        "rounds": found,
        "medians": {
            f"{way} / bare": statistics.median(
                one["bare"]["seconds"] / one[way]["seconds"] for one in found
            )
            for way in ("walk", "import")
        },
        "status_seconds": statistics.median(one["status"]["seconds"] for one in found),
    }
    for one in found:
        told = ", ".join(
            f"{way} {rows / it['seconds']:,.0f}/s {it['mb']:.0f} MB"
            for way, it in one.items()
            if way != "status"
        )
        print(f"{rows:,} rows: {told}; status {one['status']['seconds']:.2f} s", file=sys.stderr)
    print(json.dumps(figures, indent=2))


def _round(place: Path, original: Path, rows: int) -> dict[str, dict[str, float]]:
    found = {}
    for way in ("bare", "walk", "import"):
        database = place / "catalogue.db"
        Catalogue.open(database)
        found[way] = _measured(way, database, original, rows)
        if way == "import":
            found["status"] = _status(database)
        for path in place.glob("catalogue.db*"):
            path.unlink()
    return found


def _measured(way: str, database: Path, original: Path, rows: int) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.catalogue",
        way,
        str(database),
        str(original),
        str(rows),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(answer.stdout)
    return measured


def _status(database: Path) -> dict[str, float]:
    config = database.with_name("as.yaml")
    config.write_text(f"host: nowhere.example\nuser: nobody\ndb: {database}\n")
    asynchy = Path(sys.executable).with_name("asynchy")
    began = time.perf_counter()
    subprocess.run([asynchy, "--config", config, "status"], capture_output=True, check=True)
    return {"seconds": time.perf_counter() - began}


def made(rows: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Files as a walk finds them: number of the experiment, path, size, time."""
    for at in range(rows):
        experiment, number = divmod(at, -(-rows // EXPERIMENTS))
        folder, file = divmod(number, FOLDER)
        path = b"frames/user_%02d/sample_%05d/scan_%06d.cbf" % (folder % 20, folder, file)
        yield experiment, path, 2_000_000 + at % 5000, 1_500_000_000 + at


def epn(experiment: int) -> str:
    """The EPN of a made experiment."""
    return f"{10_000 + experiment}a"


def bare(database: Path, _original: Path, rows: int) -> None:
    """One executemany into the catalogue's own table."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO files (experiment_id, path, size, modified, since, seen)"
            " VALUES (?, ?, ?, ?, 1, 1)",
            made(rows),
        )
        db.execute("COMMIT")


def walk(database: Path, _original: Path, rows: int) -> None:
    """As a walk hands over what the server answers, an answer at a time."""
    sighting = ScanWriter.begin(database, "walk", "bench")
    found = [
        LocatedExperiment(Experiment("mx", Epn(epn(at))), f"/data/mx/{epn(at)}")
        for at in range(EXPERIMENTS)
    ]
    identities = [identity for identity, _ in sighting.experiments(found)]
    source = made(rows)
    while answer := list(islice(source, ANSWER)):
        folder = answer[0][1].rpartition(b"/")[0]
        sighting.add(identities[answer[0][0]], [(*row[1:], 0o644) for row in answer])
        sighting.listed(identities[answer[0][0]], folder)
    for identity in identities:
        sighting.finish(identity)
    sighting.end()


def imported(database: Path, original: Path, _rows: int) -> None:
    """`asynchy catalogue import` of a file with the original's table."""
    import_file(database, original, timezone=ZoneInfo("Australia/Melbourne"), root="/data")


def _make_original(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute(
            "CREATE TABLE files (epn TEXT, path TEXT UNIQUE, size INTEGER, modified DATETIME)"
        )
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO files VALUES (?, ?, ?, datetime(?, 'unixepoch'))",
            (
                (epn(number), f"/data/mx/{epn(number)}/{file.decode()}", size, when)
                for number, file, size, when in made(rows)
            ),
        )
        db.execute("COMMIT")


def _measure(way: Callable[[Path, Path, int], None], arguments: list[str]) -> None:
    database, original, rows = arguments
    began = time.perf_counter()
    way(Path(database), Path(original), int(rows))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"seconds": seconds, "mb": peak}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _measure({"bare": bare, "walk": walk, "import": imported}[sys.argv[1]], sys.argv[2:])
    else:
        main()
