"""What transfers that were cut off have left among the data."""

from __future__ import annotations

import logging
import os

from asynchy.localfs.copy_tree import CopyTree
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.ssh.rsync.fetcher import PARTIAL_DIR

log = logging.getLogger(__name__)

_PARTIAL = os.fsencode(PARTIAL_DIR)


def drop_partial_files(home: CopyTree, stop: Stop) -> None:
    """Remove what transfers that were cut off have left, once one has fetched everything.

    rsync clears up after the files that it completes; those that vanished at the facility
    meanwhile nobody would.
    """
    folders = [b""]
    while folders and not stop.requested:
        folder = folders.pop()
        above = folder and folder + b"/"
        try:
            below = home.folders_in(folder)
            if _PARTIAL in below:
                below.remove(_PARTIAL)
                home.remove_folder(above + _PARTIAL)
        except OSError as error:  # the copy is whole; this is only untidy
            path = escaped(os.fsencode(home.root) + b"/" + folder)
            log.warning("partial files could not be removed from %s: %s", path, error.strerror)
            continue
        folders += [above + name for name in below]
