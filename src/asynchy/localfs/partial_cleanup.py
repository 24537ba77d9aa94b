"""Removes the partial files that interrupted transfers have left among the data."""

from __future__ import annotations

import logging
import os

from asynchy.localfs.copy_tree import CopyTree
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.ssh.rsync.fetcher import PARTIAL_DIR

log = logging.getLogger(__name__)

_PARTIAL = os.fsencode(PARTIAL_DIR)


def drop_partial_files(copy_tree: CopyTree, stop: Stop) -> None:
    """Remove the partial files of interrupted transfers, once a transfer has fetched everything.

    rsync removes those of files that it completes, but not those of files that vanished at the
    facility meanwhile.
    """
    folders = [b""]
    while folders and not stop.requested:
        folder = folders.pop()
        prefix = folder and folder + b"/"
        try:
            folder_names = copy_tree.folders_in(folder)
            if _PARTIAL in folder_names:
                folder_names.remove(_PARTIAL)
                copy_tree.remove_folder(prefix + _PARTIAL)
        except OSError as error:  # the copy is whole; this is only untidy
            path = escaped(os.fsencode(copy_tree.root) + b"/" + folder)
            log.warning("partial files could not be removed from %s: %s", path, error.strerror)
            continue
        folders += [prefix + name for name in folder_names]
