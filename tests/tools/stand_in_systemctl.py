"""Stands in for systemctl in tests: starts and stops what the one unit of a folder starts.

    systemctl stop|start mx_sync, enable --now mx_sync, disable --now mx_sync, daemon-reload

UNITS is the folder. There are no restrictions: tests/integration/test_deploy.py has those.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def _directive(unit: Path, key: str) -> str:
    lines = unit.read_text(encoding="utf-8").splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith(f"{key}=")), "")


def _stop(pid_file: Path) -> None:
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text(encoding="ascii"))
    os.kill(pid, signal.SIGTERM)
    while _is_alive(pid):
        time.sleep(0.02)
    pid_file.unlink()


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _start(unit: Path, pid_file: Path) -> None:
    command = _directive(unit, "ExecStart").split()
    user = _directive(unit, "User")
    if user:
        command = ["runuser", "-u", user, "--", *command]
    with (unit.parent / "journal").open("a", encoding="utf-8") as journal:
        process = subprocess.Popen(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=journal, stderr=journal,
            start_new_session=True,
        )  # fmt: skip
    pid_file.write_text(str(process.pid), encoding="ascii")


def main(arguments: list[str]) -> None:
    """Do what was asked for."""
    units = Path(os.environ["UNITS"])
    unit, pid_file = units / "mx_sync.service", units / "pid"
    if arguments[0] in ("stop", "disable"):
        _stop(pid_file)
    elif arguments[0] in ("start", "enable"):
        _start(unit, pid_file)


if __name__ == "__main__":
    main(sys.argv[1:])
