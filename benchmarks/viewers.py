"""What the dashboard costs a transfer: `python -m benchmarks.viewers`.

ROUNDS (7) times an experiment of MB (1500) megabytes comes home on this machine, as fast as it can
or with LINK (such as "25 MB") bytes a second, in three ways in turns: without records of progress,
with them, and with them while VIEWERS (100) pages are kept up to date. It prints rates, and seconds
of processors that mxsync and its processes took, which others on the machine disturb less; the
medians of the ratios within a round; and what one record takes, for eight transfers at a time.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from asynchy.catalogue import Catalogue
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.transfer_progress import RunningTransfer
from simulator.config import write_config
from simulator.facility import Facility
from simulator.portal.handle import OMIT
from simulator.scratch import new_folder, remove

EPN = "12282a"
_SCRIPTS = Path(sys.executable).parent
_WITHOUT = """
from asynchy.runtime.progress_recorder import ProgressRecorder
ProgressRecorder.store = ProgressRecorder._write = lambda *_: None
"""
_RUN = "import sys; sys.argv[0] = 'mxsync'; from asynchy.cli.main import mxsync; mxsync()"
_RECORDS = 200
_RATE = """
SELECT bytes / ((julianday(ended) - julianday(started)) * 86400) FROM attempts
WHERE verdict = 'complete' ORDER BY id DESC LIMIT 1
"""


def main() -> int:
    """Make it, measure it, remove it."""
    rounds = int(os.environ.get("ROUNDS", "7"))
    viewers = int(os.environ.get("VIEWERS", "100"))
    megabytes = int(os.environ.get("MB", "1500"))
    place = new_folder("asynchy-viewers-")
    try:
        with Facility(place / "facility") as facility:
            _measured(facility, megabytes)
            found: dict[str, list[tuple[float, float]]] = {"without": [], "with": [], "viewed": []}
            for number in range(rounds):
                ways = list(found)
                for way in ways[number % 3 :] + ways[: number % 3]:
                    rate, used = _once(place / "home", facility, way, viewers)
                    found[way].append((rate, used))
                    print(f"{way:8} {rate / 1e6:7.1f} MB/s {used:6.2f} s of processors", flush=True)
            _print_cost_of_a_record(place / "home" / "catalogue.db")
    finally:
        remove(place)
    for way, base in (("with", "without"), ("viewed", "with")):
        for place_of, what in enumerate(("rate", "processors")):
            pairs = zip(found[way], found[base], strict=True)
            ratios = [one[place_of] / other[place_of] for one, other in pairs]
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            print(f"{what}, {way} / {base}: median {statistics.median(ratios):.3f} ({spread})")
    return 0


def _measured(facility: Facility, megabytes: int) -> None:
    place = facility.experiment("mx", EPN)
    for number in range(megabytes // 10):
        (place / f"image_{number:05}.h5").write_bytes(os.urandom(10_000_000))
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    facility.portal.add_visit(equipment=23, epn=EPN, start=end - timedelta(hours=8), end=end)


def _once(home: Path, facility: Facility, way: str, viewers: int) -> tuple[float, float]:
    """Bytes a second, and seconds of processors."""
    if home.exists():
        shutil.rmtree(home)
    (home / "logs").mkdir(parents=True)
    (home / "projects" / "ny79").mkdir(parents=True)
    config = write_config(
        home / "config.yml", facility, destination=home / "projects",
        epn_cap_map={"12282": "ny79"}, bandwidth_limit=os.environ.get("LINK") or OMIT,
        epnalert_template_folder=OMIT, epnalert_template_text=OMIT,
        epnalert_template_html=OMIT, web={"listen": "127.0.0.1:0"}, manifest=False,
    )  # fmt: skip
    code = (_WITHOUT if way == "without" else "") + _RUN
    call = [sys.executable, "-c", code, "--config", str(config), "--execute", "--once"]
    with _watched(config, viewers) if way == "viewed" else contextlib.nullcontext():
        before = _children()
        subprocess.run(call, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        used = _children() - before
    with contextlib.closing(sqlite3.connect(home / "catalogue.db")) as db:
        return float(db.execute(_RATE).fetchone()[0]), used


def _print_cost_of_a_record(path: Path) -> None:
    now = datetime.now(UTC)
    running = [
        RunningTransfer(
            Experiment("mx", Epn(f"{number}a")), "ny79", f"/p/{number}", since=now, heartbeat=now,
            bytes=10**12, done=10**9, files=1000, files_done=1, rate=1e8, left=9.0, doing="",
        )
        for number in range(1, 9)
    ]  # fmt: skip
    store = Catalogue.open(path).transfers.store
    store(running, 10**6, now)
    began, used = time.perf_counter(), time.process_time()
    for _ in range(_RECORDS):
        store(running, 10**6, datetime.now(UTC))
    taken = 1000 * (time.perf_counter() - began) / _RECORDS
    processor = 1000 * (time.process_time() - used) / _RECORDS
    share = processor / 2000
    print(f"a record: {taken:.1f} ms, {processor:.1f} ms of a processor, {share:.2%} of one")


def _children() -> float:
    """Seconds of processors that processes which have ended have used."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


@contextmanager
def _watched(config: Path, viewers: int) -> Iterator[None]:
    """The dashboard, and pages of it that are kept up to date; what it took is printed."""
    asynchy = [str(_SCRIPTS / "asynchy"), "--config", str(config), "web"]
    added = subprocess.run(
        [*asynchy, "token", "add", "bench"], capture_output=True, text=True, check=True
    )
    token = added.stdout.strip()
    with subprocess.Popen(asynchy, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().rpartition(" ")[2].strip()
            cookie = _session(address, token)
            ended = threading.Event()
            got = [0] * viewers
            reading = threading.Thread(target=_read, args=(address, cookie, got, ended))
            reading.start()
            began, used = time.monotonic(), _processor(server.pid)
            yield
            seconds, used = time.monotonic() - began, _processor(server.pid) - used
            ended.set()
            reading.join()
            memory = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
            peak = next(line for line in memory.splitlines() if line.startswith("VmHWM"))
            print(
                f"  {sum(one > 0 for one in got)} pages had news, {sum(got) / seconds / 1e3:.0f} "
                f"kB/s in all; server: {100 * used / seconds:.0f} % of a processor, {peak}"
            )
        finally:
            server.terminate()


def _read(address: str, cookie: str, got: list[int], ended: threading.Event) -> None:
    """Read what comes, with one thread for all."""
    host, _, port = address.removeprefix("http://").partition(":")
    request = f"GET /live HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()
    connections = []
    for _ in got:
        one = socket.create_connection((host, int(port)))
        one.sendall(request)
        one.setblocking(False)
        connections.append(one)
    while not ended.wait(0.5):
        for number, one in enumerate(connections):
            with contextlib.suppress(BlockingIOError):
                while data := one.recv(65_536):
                    got[number] += len(data)
    for one in connections:
        one.close()


def _session(address: str, token: str) -> str:
    host, _, port = address.removeprefix("http://").partition(":")
    body = urlencode({"token": token}).encode()
    head = (
        f"POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as one:
        one.sendall(head.encode() + body)
        answer = one.makefile("rb").read().decode()
    return answer.partition("set-cookie: ")[2].partition(";")[0]


def _processor(pid: int) -> float:
    """Seconds of processors that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
