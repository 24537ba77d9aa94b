"""What our commands take with very many files: `python -m benchmarks.million`.

FILES files (1,000,000), empty, in folders of 500 of one experiment, without distance: a walk, the
plan alone, and all of it. Memory is that of the process which was called, without its streams.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.empty import make_empty
from benchmarks.listing import known
from benchmarks.peers import Login, commands
from benchmarks.report import OURS
from benchmarks.timing import timed
from benchmarks.transfer import EPN, configured
from simulator.facility import Facility
from simulator.scratch import new_folder, remove

FOLDER = 500
"""Files in a folder."""


def run(out: dict[str, Any], files: int = 1_000_000) -> None:
    """Measure, into `out["million"]`."""
    place = new_folder("asynchy-bench-")
    try:
        with Facility(place / "facility") as facility:
            make_empty(facility.experiment("mx", EPN), files, FOLDER)
            keys = str(facility.key_file), str(facility.known_hosts)
            source = f"{facility.data}/mx/{EPN}"
            login = Login(facility.host, facility.port, facility.user, *keys, source)
            out["million"] = {"files": files, "commands": _measure(place, login, files)}
    finally:
        remove(place)


def _measure(place: Path, login: Login, files: int) -> dict[str, dict[str, Any]]:
    destination = place / "destination"
    destination.mkdir()
    config = configured(place, login)
    sync = commands(login, destination, config)[OURS]
    walk = [*sync[: sync.index("sync")], "walk"]
    found = {}
    for name, command in (
        ("walk", walk),
        ("sync --dry-run", [*sync, "--dry-run"]),
        ("sync", sync),
    ):
        result = timed(command, place / "told")
        print(
            f"{files:,} files: {name:14} {result.seconds:7.1f} s, {result.peak_bytes / 1e6:.0f} MB",
            file=sys.stderr,
            flush=True,
        )
        found[name] = asdict(result)
    arrived = sum(len(names) for _, _, names in os.walk(destination))
    if known(config) != files or arrived < files:
        raise RuntimeError(f"{known(config):,} files listed, {arrived:,} brought, of {files:,}")
    return found


def main() -> None:
    """Measure by itself, into the file of the last run."""
    found = results.load()
    run(found, int(os.environ.get("FILES", "1000000")))
    results.save(found)


if __name__ == "__main__":
    main()
