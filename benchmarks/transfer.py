"""How fast one experiment comes home, against other programs.

The programs take turns, and a ratio is of one round. What takes longer than the cap is ended, and
its rate is that of what had arrived. Only root can make the link. Before each run as much memory is
touched as the data take, so that none of the programs pays for getting it from the machine.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import SETS, make
from benchmarks.limits import limits
from benchmarks.network import SERVER, Network
from benchmarks.peers import Login, commands
from simulator.scratch import new_folder, remove

EPN = "12282a"
OURS = "asynchy"
_ALWAYS = (OURS, "originals")
"""What takes part in every round, however slow."""
_FAR_BEHIND = 1 / 2
"""Of the best in the first round: slower programs are not measured again in a cell."""
_GIGABIT = 1_000_000_000
_AFTER = 3.0
"""Seconds of data coming in after which a rate counts as steady."""
_COMING = 8 << 20
"""Bytes that have come once it is more than a listing."""
_TICK = 0.2


@dataclass(frozen=True)
class Measured:
    """One program in one cell, once."""

    rate: float
    """Bytes a second, from its start to its end or to the cap."""
    whole: bool
    """Whether all of it came within the cap."""
    seconds: float
    cpu_s_a_gb: float
    """CPU seconds at home for each GB."""
    steady: float | None
    """Bytes a second on the link once data had been coming for three seconds."""


def run(  # noqa: PLR0913, PLR0917 - all that may be chosen
    out: dict[str, Any],
    sets: list[str],
    trips: list[int],
    rounds: int,
    cap: float,
    peers: list[str] | None,
    gigabit: bool,
) -> None:
    """Measure data sets over round trips (in ms); results are added to `out["cells"]`.

    `gigabit`: the large files over a distance with a link of 1 Gbit/s, too. `peers`: the programs;
    None: all that are installed.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
    cells = out.setdefault("cells", [])
    known: dict[tuple[int, int | None], dict[str, float]] = {}
    for name in sets:
        place = new_folder("asynchy-bench-")
        try:
            source = place / "facility" / "data" / "mx" / EPN
            source.mkdir(parents=True)
            size = make(name, source)
            files = sum(path.is_file() for path in source.rglob("*"))
            links: list[tuple[int, int | None]] = [(trip, None) for trip in trips]
            if gigabit and name in ("FRAMES", "HUGE"):
                links += [(trip, _GIGABIT) for trip in trips if trip]
            for trip, bits in links:
                cell = _cell(place, size, (trip, bits), rounds, cap, peers, known)
                cells.append({"data": name, "size": size, "files": files, **cell})
        finally:
            remove(place)


def _cell(  # noqa: PLR0913, PLR0917
    place: Path,
    size: int,
    link: tuple[int, int | None],
    rounds: int,
    cap: float,
    peers: list[str] | None,
    known: dict[tuple[int, int | None], dict[str, float]],
) -> dict[str, Any]:
    trip, bits = link
    print(f"== {place.name}: {trip} ms, {bits or 'no limit'}", file=sys.stderr, flush=True)
    with Network(trip / 1000, bits) as network, facility(network, place) as login:
        measured_ms = 1000 * network.round_trip()
        if link not in known:
            known[link] = limits(network, login, trip / 1000)
        destination = place / "destination"
        config = configured(place, login)
        ways = commands(login, destination, config)
        taken: dict[str, list[Measured]] = {}
        names = [name for name in ways if peers is None or name in peers]
        for _ in range(rounds):
            for name in names:
                if name == OURS:
                    _walk(network, config)
                shutil.rmtree(destination, ignore_errors=True)
                destination.mkdir()
                _touch(size + (256 << 20))
                result = _measure(network, ways[name], destination, size, cap)
                taken.setdefault(name, []).append(result)
                _say(name, result)
            names = _worth_another(names, taken)
        shutil.rmtree(destination)
    return {
        "round_trip_ms": trip,
        "measured_ms": measured_ms,
        "bits_a_second": bits,
        "line_cpu_s": network.cpu_seconds,
        "limits": known[link],
        "programs": {name: [asdict(one) for one in results] for name, results in taken.items()},
    }


def _worth_another(names: list[str], taken: dict[str, list[Measured]]) -> list[str]:
    best = max(results[0].rate for results in taken.values())
    return [name for name in names if name in _ALWAYS or taken[name][0].rate >= best * _FAR_BEHIND]


def _say(name: str, one: Measured) -> None:
    mark = "" if one.whole else "*"
    steady = f", steady {one.steady / 1e6:.0f}" if one.steady else ""
    print(
        f"{name:10} {one.rate / 1e6:7.1f}{mark:1} MB/s, {one.cpu_s_a_gb:5.2f} CPU s/GB{steady}",
        file=sys.stderr,
        flush=True,
    )


@contextmanager
def facility(network: Network, place: Path) -> Iterator[Login]:
    """The simulated facility at the other end of the link, with the data below `place`."""
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


def configured(place: Path, login: Login) -> Path:
    """A config of ours for that facility."""
    config = place / "as.yaml"
    config.write_text(
        f"host: {login.host}\nport: {login.port}\nuser: {login.user}\nkeypath: {login.key}\n"
        f"known-hosts: {login.known_hosts}\ndb: {place}/catalogue.db\n"
        f"walk-root: {login.source.rpartition('/mx/')[0]}\n"
        "manifest: false\n"  # none of the others reads what it brought once more
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


def _touch(size: int) -> None:
    """Have this machine give us as much memory, which is free again at once."""
    some = bytes([1]) * (1 << 20)
    with mmap.mmap(-1, size) as memory:
        for at in range(0, size - len(some) + 1, len(some)):
            memory[at : at + len(some)] = some


def _measure(
    network: Network, command: list[str], destination: Path, size: int, cap: float
) -> Measured:
    wrapper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("measured.py")), str(cap)]
    with subprocess.Popen(
        [*wrapper, *network.client, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        with _watching(int(process.stdout.readline())) as came:
            told = json.loads(process.stdout.readline())
        arrived = _bytes_in(destination)
        cpu_told, _ = process.communicate("\n")
    whole = told["code"] is not None
    if not whole and came:  # some programs reserve the room for a file before its bytes come
        arrived = min(arrived, came[-1][1] - came[0][1])
    if whole and (told["code"] or arrived < 0.99 * size):
        raise RuntimeError(
            f"{' '.join(command)[:300]} ended with {told['code']} after {arrived:,} of {size:,} B"
        )
    return Measured(
        rate=arrived / told["seconds"],
        whole=whole,
        seconds=told["seconds"],
        cpu_s_a_gb=float(cpu_told) / max(arrived, 1) * 1e9,
        steady=_steady(came),
    )


@contextmanager
def _watching(pid: int) -> Iterator[list[tuple[float, int]]]:
    """When how many bytes had come over the process's link; more comes in until the end."""
    came: list[tuple[float, int]] = []
    over = threading.Event()

    def watch() -> None:
        table = Path(f"/proc/{pid}/net/dev")
        while not over.wait(_TICK):
            try:
                lines = table.read_text().splitlines()
            except OSError:  # it has ended
                return
            line = next((line for line in lines if line.strip().startswith("line:")), None)
            if line is not None:
                came.append((time.monotonic(), int(line.split()[1])))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield came
    finally:
        over.set()
        thread.join()


def _steady(came: list[tuple[float, int]]) -> float | None:
    """Bytes a second from three seconds of data on, until nearly all had come."""
    if not came:
        return None
    before, last = came[0][1], came[-1][1]
    flowing = [(when, had) for when, had in came if had - before > _COMING]
    if not flowing:
        return None
    begin = flowing[0][0] + _AFTER
    end = before + 0.98 * (last - before)
    counted = [(when, had) for when, had in flowing if when >= begin and had <= end]
    if len(counted) < 5:
        return None
    (first, had), (then, has) = counted[0], counted[-1]
    return (has - had) / (then - first)


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
    found: dict[str, Any] = {}
    chosen = sys.argv[1:] or list(SETS)
    run(found, chosen, [0, 20, 100], 1, 15.0, None, gigabit=False)
    json.dump(found, sys.stdout, indent=2)
