"""`make demo-dashboard`: the dashboard for the results of the last `make demo`, until Ctrl-C.

The demo leaves its home: config, catalogue, logs and the copies. It is removed after this, and
before the next demo.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from simulator.demo_web import command, running
from simulator.scratch import memory, remove

PREFIX = "asynchy-demo-"
_MARK = "kept"
"""A file in a folder that a demo has left."""


def keep(folder: Path) -> None:
    """Leave the home of a demo for the dashboard, in little room, and remove its facility."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != "home":
            remove(path)
    for path in (folder / "home" / "projects").rglob("*"):
        found = path.lstat()
        if path.is_file() and not path.is_symlink():
            os.truncate(path, 0)
            os.truncate(
                path, found.st_size
            )  # a hole takes no room, and the dashboard reads no file
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    (folder / _MARK).touch()


def kept_folders() -> list[Path]:
    """The folders that demos of this user have left, the latest first."""
    places = {place for place in (memory(), Path("/dev/shm"), Path(tempfile.gettempdir())) if place}
    found = [
        path for place in places for path in place.glob(f"{PREFIX}*")
        if path.stat().st_uid == os.getuid() and (path / _MARK).exists()
    ]  # fmt: skip
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def main() -> int:
    """Show it until Ctrl-C, then remove it."""
    folder = next(iter(kept_folders()), None)
    if folder is None:
        print("There is nothing to show: `make demo` comes first.")
        return 1
    config = folder / "home" / "config.yml"
    try:
        with contextlib.ExitStack() as stack:
            name = f"you-{os.getpid()}"
            token = command(config, "web", "token", "add", name, "--role", "operator").strip()
            stack.enter_context(running(config, "asynchy", "web"))
            print(f"\nThe token to log in with: {token}\nCtrl-C ends it.\n", flush=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        print("\nThe demo ends.", flush=True)
    finally:
        remove(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
