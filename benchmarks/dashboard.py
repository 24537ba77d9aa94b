"""How long the pages of the dashboard take, with many experiments, and how much memory it needs.

`python -m benchmarks.dashboard`, with COPIES (100000), TRIES (10: attempts for each copy), FILES
(10000000: of one of them) and ROUNDS (20), makes the catalogue of `benchmarks.decisions`, starts
`asynchy web`, and asks for each page. It prints size, median and 95th percentile, how long the
states and the sums of the files took to derive, and the memory of the server.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from asynchy.catalogue.database import Database
from benchmarks.decisions import _make
from simulator.facility import Facility
from simulator.scratch import new_folder, remove

_MANY = "/experiments/mx/10123d"
"""The experiment with very many files."""
_FOLDERS = 1000
_PAGES = (
    "/", "/experiments", "/experiments?q=structure", "/experiments?q=10123",
    "/experiments?sort=epn&page=2000", "/experiments?state=at_home&project=p3",
    "/experiments/mx/10123c", _MANY, f"{_MANY}/files", f"{_MANY}/files?in=raw/run_0501",
    f"{_MANY}/files?in=raw/run_0501&from=raw/run_0501/image_05000",
    "/history", "/facility", "/health",
    "/api/v1/status", "/api/v1/experiments?per_page=500", "/metrics",
)  # fmt: skip
_AGAIN = """
INSERT INTO attempts (copy_id, started, ended, host, pid, engine, "check", compare, verdict, stderr,
                      bytes, files)
SELECT copy_id, strftime('%Y-%m-%d %H:%M:%f000', started, ?),
       strftime('%Y-%m-%d %H:%M:%f000', ended, ?, '+60 seconds'),
       host, pid, engine, "check", compare, verdict, stderr, 1000000, 1
FROM attempts WHERE id <= ?
"""
_FILE = (
    "INSERT INTO files (experiment_id, path, size, modified, since, seen) VALUES (?, ?, 9, 5, 1, 1)"
)
_HELD = """
INSERT INTO held (copy_id, path, size, modified, level, checked)
SELECT (SELECT min(id) FROM copies WHERE experiment_id = ?), path, size, modified, 1, 0
FROM files WHERE experiment_id = ?
"""
_SCRIPTS = Path(sys.executable).parent


def main() -> int:
    """Make it, measure it, remove it."""
    number = int(os.environ.get("COPIES", "100000"))
    tries = int(os.environ.get("TRIES", "10"))
    rounds = int(os.environ.get("ROUNDS", "20"))
    place = new_folder("asynchy-dashboard-")
    try:
        (place / "facility").mkdir()
        (place / "home" / "logs").mkdir(parents=True)
        with Facility(place / "facility") as facility:
            config = str(_make(place / "home", facility, number, number // 10))
        with Database.open(place / "home" / "catalogue.db").transaction() as db:
            for one in range(1, tries):
                earlier = f"-{one * 30} days"
                db.exec_driver_sql(_AGAIN, (earlier, earlier, number))
            _add_files(db, int(os.environ.get("FILES", "10000000")))
        _measure(config, rounds)
    finally:
        remove(place)
    return 0


def _add_files(db: Any, number: int) -> None:
    """Half of them in folders of their own, half in one tree, all of them at home."""
    mine = "SELECT id FROM experiments WHERE epn = '10123d'"
    experiment = db.exec_driver_sql(mine).scalar_one()
    each = max(1, number // _FOLDERS)
    for folder in range(_FOLDERS):
        name = f"raw/run_{folder:04}" if folder % 2 else f"set_{folder:04}"
        rows = [(experiment, f"{name}/image_{at:05}.cbf".encode()) for at in range(each)]
        db.exec_driver_sql(_FILE, rows)
    db.exec_driver_sql(_HELD, (experiment, experiment))
    db.exec_driver_sql("UPDATE experiments SET files = ? WHERE id = ?", (number, experiment))


def _measure(config: str, rounds: int) -> None:
    asynchy = [str(_SCRIPTS / "asynchy"), "--config", config, "web"]
    add = subprocess.run([*asynchy, "token", "add", "bench"], stdout=subprocess.PIPE, check=True)
    began = time.monotonic()
    with (
        subprocess.Popen(asynchy, stdout=subprocess.PIPE, text=True) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.terminate)
        assert process.stdout is not None
        address = process.stdout.readline().rpartition("//")[2].strip()
        cookie = _session(address, add.stdout.decode().strip())
        while _asked(address, "/experiments", cookie)[0] != 200:
            time.sleep(0.5)
        print(f"states of all experiments: {time.monotonic() - began:.1f} s after the start")
        began = time.monotonic()
        while b"being added up" in _body(address, _MANY, cookie):
            time.sleep(0.5)
        print(f"sums of very many files: {time.monotonic() - began:.1f} s")
        for path in _PAGES:
            taken, size = [], 0
            for _ in range(rounds):
                before = time.monotonic()
                status, size = _asked(address, path, cookie)
                taken.append(1000 * (time.monotonic() - before))
                if status != 200:
                    raise SystemExit(f"{path}: status {status}")
            most = sorted(taken)[int(0.95 * (rounds - 1))]
            median = statistics.median(taken)
            print(f"{path:40} {size / 1000:6.1f} kB  median {median:4.0f} ms  p95 {most:4.0f} ms")
        status_file = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        print(next(line for line in status_file.splitlines() if line.startswith("VmHWM")))


def _session(address: str, token: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=60)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/login", urlencode({"token": token}), kind)
    return connection.getresponse().headers["set-cookie"].partition(";")[0]


def _asked(address: str, path: str, cookie: str) -> tuple[int, int]:
    answer = _answer(address, path, cookie)
    return answer.status, len(answer.read())


def _body(address: str, path: str, cookie: str) -> bytes:
    return _answer(address, path, cookie).read()


def _answer(address: str, path: str, cookie: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", path, headers={"Cookie": cookie})
    return connection.getresponse()


if __name__ == "__main__":
    sys.exit(main())
