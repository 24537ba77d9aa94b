"""The hint if a file of asynchy's own state cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path


def folder_hint(error: OSError, folder: Path) -> str:
    """The hint for a folder in which a file could not be made or replaced.

    Under systemd's ProtectSystem a folder is read-only for the service, and writable for the
    person who looks at it (systemd.exec(5)).
    """
    if error.errno == errno.EROFS:
        return (
            f"{folder} is read-only for this program: under systemd, move the file to a folder "
            "that `ReadWritePaths` of the unit names, and correct the config; otherwise mount it "
            "writable"
        )
    if error.errno == errno.ENOENT:
        return f"there is no folder {folder}: make it, mount its file system, or correct the link"
    return f"make {folder} writable for the user that runs asynchy"
