"""How fast what lies at the facility is listed: `python -m benchmarks.listing`.

FILES files (100,000) in folders of 50, at the round trips RTT (milliseconds), ROUNDS times; what
takes longer than CAP seconds (60) is ended. Our command does all that it does: it finds the
experiments, and stores what it lists. Only root can make the link.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asynchy.catalogue import Catalogue
from benchmarks import results
from benchmarks.empty import make_empty
from benchmarks.network import Network
from benchmarks.peers import Login, commands
from benchmarks.report import OURS
from benchmarks.timing import Timed, timed
from benchmarks.transfer import EPN, configured, facility
from simulator.scratch import new_folder, remove

FOLDER = 50
"""Files in a folder."""


def run(
    out: dict[str, Any], trips: list[int], rounds: int, cap: float, files: int = 100_000
) -> None:
    """Measure, into `out["listing"]`."""
    place = new_folder("asynchy-bench-")
    try:
        make_empty(place / "facility" / "data" / "mx" / EPN, files, FOLDER)
        out["listing"] = [_trip(place, trip, rounds, cap, files) for trip in trips]
    finally:
        remove(place)


def _trip(place: Path, trip: int, rounds: int, cap: float, files: int) -> dict[str, Any]:
    with Network(trip / 1000) as network, facility(network, place) as login:
        measured = network.round_trip()
        config = configured(place, login)
        ways = listings(login, place, config)
        taken: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, command in ways.items():
                forget(config)
                result = timed([*network.client, *command], place / "listed", cap)
                if result.whole:
                    _check(name, place, files)
                taken[name].append(asdict(result))
                _say(trip, name, result)
    return {
        "round_trip_ms": trip,
        "measured_ms": 1000 * measured,
        "files": files,
        "folders": -(-files // FOLDER),
        "programs": taken,
    }


def listings(login: Login, place: Path, config: Path) -> dict[str, list[str]]:
    """By name: the command lines of those programs that are installed."""
    ways = commands(login, place / "destination", config)
    found = {
        OURS: [*ways[OURS][: ways[OURS].index("sync")], "walk"],
        "rsync": [
            "rsync", "--list-only", "-r", "--no-inc-recursive", "-e", login.ssh(),
            f"{login.host}:{login.source}/",
        ],
    }  # fmt: skip
    if "rclone" in ways:
        rclone, _, source, _, *options = ways["rclone"]
        found["rclone"] = [rclone, "lsf", "-R", source, *options, "--checkers=32"]
    return found


def forget(config: Path) -> None:
    """Have a catalogue that knows nothing, so that everything is new."""
    for old in config.parent.glob("catalogue.db*"):
        old.unlink()
    Catalogue.open(config.with_name("catalogue.db"))


def known(config: Path) -> int:
    """Files in the catalogue."""
    with closing(sqlite3.connect(config.with_name("catalogue.db"))) as db:
        (found,) = db.execute("SELECT count(*) FROM files").fetchone()
    return int(found)


def _check(name: str, place: Path, files: int) -> None:
    if name == OURS:
        found = known(place / "as.yaml")
    else:  # folders are told, too
        found = (place / "listed").read_bytes().count(b"\n")
    if found < files:
        raise RuntimeError(f"{name} listed {found:,} of {files:,} files")


def _say(trip: int, name: str, one: Timed) -> None:
    mark = "" if one.whole else "*"
    line = f"listing {trip:3} ms {name:10} {one.seconds:6.2f}{mark:1} s"
    print(f"{line}, {one.peak_bytes / 1e6:.0f} MB", file=sys.stderr, flush=True)


def main() -> None:
    """Measure by itself, into the file of the last run."""
    found = results.load()
    trips = [int(text) for text in os.environ.get("RTT", "0,20,100").split(",")]
    rounds, cap = int(os.environ.get("ROUNDS", "3")), float(os.environ.get("CAP", "60"))
    run(found, trips, rounds, cap, int(os.environ.get("FILES", "100000")))
    results.save(found)


if __name__ == "__main__":
    main()
