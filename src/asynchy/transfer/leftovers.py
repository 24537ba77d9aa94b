"""What transfers that were cut off have left among the data."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from asynchy.domain.stop import Stop
from asynchy.ssh.rsync import PARTIAL_DIR

log = logging.getLogger(__name__)

_PARTIAL = os.fsencode(PARTIAL_DIR)


def drop_partial_files(destination: Path, stop: Stop) -> None:
    """Remove what transfers that were cut off have left, once one has fetched everything.

    rsync clears up after the files that it completes; those that vanished at the facility
    meanwhile nobody would. Symbolic links are not followed.
    """
    folders = [os.fsencode(destination)]
    while folders and not stop.asked:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                below = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            if _PARTIAL in below:
                below.remove(_PARTIAL)
                shutil.rmtree(folder + b"/" + _PARTIAL)
        except OSError as error:  # the copy is whole; this is only untidy
            log.warning("partial files could not be removed: %s", error)
            continue
        folders += [folder + b"/" + name for name in below]
