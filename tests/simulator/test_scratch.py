"""Folders for made experiments are removed whole, by whoever made them."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

from simulator import scratch
from tests.conftest import as_user


def test_an_ordinary_user_removes_folders_without_any_permission(place: Path) -> None:
    program = (
        f"{inspect.getsource(scratch)}\n"
        "import sys\n"
        "top = Path(sys.argv[1])\n"
        "(top / 'closed' / 'read-only').mkdir(parents=True)\n"
        "(top / 'closed' / 'read-only' / os.fsdecode(b'file\\xff')).touch()\n"
        "(top / 'closed' / 'read-only').chmod(0o555)\n"
        "(top / 'closed').chmod(0)\n"
        "remove(top)\n"
    )
    python = os.path.realpath(sys.executable)  # the ordinary user may not enter this checkout
    command = [*as_user(), python, "-c", program, place / "top"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (place / "top").exists()
