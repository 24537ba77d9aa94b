#!/usr/bin/env python3
"""The facility's rsync, which does to some experiments what their file `.scenario` says.

`lying_rsync.py RSYNC …`: the real one runs; what it says to the client is changed on the way, from the second run for an
experiment on (the first one lists it), or, where the scenario begins with `listing: `, at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

CLIMB = {
    "climbs": (b"xx_evil", b"../evil"),
    "climbs later": (b"yy_evilevil", b"su/../.evil"),
    "from the root": (b"yy_evilevil", b"/evil/evill"),
    "NUL": (b"xx_evil", b"xx\0evil"),
    "escape sequence": (b"xx_evil", b"\x1b[2Jevi"),
}


def main() -> None:
    source = Path(sys.argv[-1])
    real = sys.argv[1:]
    try:
        scenario = (source / ".scenario").read_text()
    except OSError:
        os.execv(real[0], real)
    runs = source / ".runs"
    first = not runs.exists()
    runs.touch()
    if first and not scenario.startswith("listing: "):
        os.execv(real[0], real)
    lie(scenario.removeprefix("listing: "), source, real)


def lie(scenario: str, source: Path, real: list[str]) -> None:
    if scenario == "becomes a link" and not (source / ".sub").exists():
        (source / "sub").rename(source / ".sub")
        (source / "sub").symlink_to("/etc")
    if scenario == "garbage":
        os.write(1, os.urandom(100_000))
        return
    with subprocess.Popen(real, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        sent = 0
        while data := os.read(process.stdout.fileno(), 1 << 20):
            if scenario in CLIMB:
                data = data.replace(*CLIMB[scenario])
            if scenario == "4 GiB" and sent > 20:
                data = b"\xff\xff\xff\xff" + data
            if scenario in ("stall", "cut off") and sent + len(data) > 600:
                os.write(1, data[: max(0, 600 - sent)])
                if scenario == "stall":
                    time.sleep(3600)
                process.kill()
                return
            sent += len(data)
            while data:
                data = data[os.write(1, data) :]


main()
