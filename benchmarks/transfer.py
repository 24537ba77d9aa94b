"""How fast one experiment comes home, against other programs: `python -m benchmarks.transfer`.

DATA, RTT (milliseconds), PEERS (each a list with commas), ROUNDS and CAP (seconds) choose. Only
root can make the link. The ways take turns, and a ratio is of one round. What takes longer than CAP
is ended, and its rate is that of what had arrived; such rates are marked with `*`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import SETS, make
from benchmarks.network import SERVER, Network
from benchmarks.peers import Login, commands
from simulator.scratch import new_folder, remove

EPN = "12282a"


@dataclass(frozen=True)
class Measured:
    """One program in one cell, once."""

    rate: float
    """Bytes a second."""
    whole: bool
    """Whether all of it came within the cap."""
    cpu: float
    """CPU seconds at home for each GB."""


def main() -> None:
    """Measure, print a table, and write the figures as JSON to standard output."""
    sets = os.environ.get("DATA", ",".join(SETS)).split(",")
    trips = [int(text) for text in os.environ.get("RTT", "0,20,100").split(",")]
    rounds = int(os.environ.get("ROUNDS", "3"))
    found = {}
    for name in sets:
        place = new_folder("asynchy-bench-")
        try:
            source = place / "facility" / "data" / "mx" / EPN
            source.mkdir(parents=True)
            size = make(name, source)
            for trip in trips:
                found[f"{name} {trip}"] = _cell(place, size, trip / 1000, rounds)
        finally:
            remove(place)
    print(json.dumps(found, indent=2))


def _cell(place: Path, size: int, round_trip: float, rounds: int) -> dict[str, object]:
    with Network(round_trip) as network, _facility(network, place) as login:
        measured_trip = network.round_trip()
        destination = place / "destination"
        config = _config(network, place, login)
        ways = commands(login, destination, config)
        only = os.environ.get("PEERS")
        names = only.split(",") if only else list(ways)
        taken: dict[str, list[Measured]] = {name: [] for name in names}
        for name in set(names) - ways.keys():
            print(f"{name} is not installed", file=sys.stderr)
            del taken[name]
        for _ in range(rounds):
            for name, results in taken.items():
                shutil.rmtree(destination, ignore_errors=True)
                destination.mkdir()
                if name == "asynchy":
                    _walk(network, config)
                results.append(_measure([*network.client, *ways[name]], destination, size))
        shutil.rmtree(destination)
    return _told(measured_trip, taken)


def _told(round_trip: float, taken: dict[str, list[Measured]]) -> dict[str, object]:
    peers = [name for name in taken if name != "asynchy"]
    cell: dict[str, object] = {"round_trip_ms": 1000 * round_trip}
    for name, results in taken.items():
        rate = statistics.median(one.rate for one in results) / 1e6
        mark = "" if all(one.whole for one in results) else "*"
        cpu = statistics.median(one.cpu for one in results)
        figures = {"mb_a_second": round(rate, 1), "cpu_s_a_gb": round(cpu, 2)}
        cell[name] = {**figures, "whole": not mark}
        line = f"{1000 * round_trip:6.1f} ms {name:10} {rate:7.1f}{mark:1} MB/s"
        print(f"{line}, {cpu:5.2f} CPU s/GB", file=sys.stderr)
    if "asynchy" in taken and peers:
        ratios = [
            ours.rate / max(taken[name][at].rate for name in peers)
            for at, ours in enumerate(taken["asynchy"])
        ]
        cell["of_the_best_peer"] = round(statistics.median(ratios), 2)
        print(f"          of the best peer: {cell['of_the_best_peer']}", file=sys.stderr)
    return cell


@contextmanager
def _facility(network: Network, place: Path) -> Iterator[Login]:
    command = [sys.executable, "-m", "benchmarks.server", str(place / "facility"), SERVER]
    with subprocess.Popen(
        [*network.server, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield Login(
            SERVER,
            told["port"],
            told["user"],
            told["key"],
            told["known_hosts"],
            f"{told['data']}/mx/{EPN}",
        )
        process.communicate("")


def _config(network: Network, place: Path, login: Login) -> Path:
    for old in place.glob("catalogue.db*"):
        old.unlink()
    config = place / "as.yaml"
    config.write_text(
        f"host: {login.host}\nport: {login.port}\nuser: {login.user}\nkeypath: {login.key}\n"
        f"known-hosts: {login.known_hosts}\ndb: {place}/catalogue.db\n"
        f"walk-root: {login.source.rpartition('/mx/')[0]}\n"
    )
    return config


def _walk(network: Network, config: Path) -> None:
    """Have the catalogue know the experiment, and of no copy of it."""
    for old in config.parent.glob("catalogue.db*"):
        old.unlink()
    asynchy = Path(sys.executable).with_name("asynchy")
    subprocess.run(
        [*network.client, asynchy, "--config", config, "walk"], check=True, capture_output=True
    )


def _measure(command: list[str], destination: Path, size: int) -> Measured:
    cap = float(os.environ.get("CAP", "15"))
    before, began = os.times(), time.monotonic()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
    ) as process:
        try:
            process.wait(cap)
            whole = True
        except subprocess.TimeoutExpired:
            whole = False
        seconds = time.monotonic() - began
        arrived = _bytes_in(destination)
        if not whole:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    if whole and arrived < 0.99 * size:
        raise RuntimeError(f"{command[:12]} brought {arrived:,} of {size:,} bytes")
    return Measured(arrived / seconds, whole, cpu / max(arrived, 1) * 1e9)


def _bytes_in(folder: Path) -> int:
    """What is there, in blocks, since files may have holes where nothing has come yet."""
    total = 0
    for path in folder.rglob("*"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if path.is_file():
            total += min(found.st_size, found.st_blocks * 512)
    return total


if __name__ == "__main__":
    main()
