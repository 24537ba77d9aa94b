"""What a worker says of its host, for `asynchy doctor`."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class HostFacts:
    """How a host sees what it shares with the coordinator's."""

    time: float
    """Of its clock, in seconds since 1970."""
    has_ssh: bool
    missing_files: tuple[Path, ...]
    """Those of the files that streams need which it cannot read."""
    fault: str | None
    """What is wrong with the folder; None: it was read and written."""


def look(folder: Path | None, name: str, own: str, files: tuple[Path, ...]) -> HostFacts:
    """Read the file of that name in a folder, and write one of its `own` name with the same bytes.

    `files` are those that it must be able to read.
    """
    fault = None
    if folder is not None:
        try:
            content = (folder / name).read_bytes()
            with open(os.open(folder / own, _NEW, 0o600), "wb") as file:  # noqa: PTH123
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            fault = f"{error.filename}: {error.strerror}"
    missing = tuple(path for path in files if not os.access(path, os.R_OK, effective_ids=True))
    return HostFacts(time.time(), shutil.which("ssh") is not None, missing, fault)
