"""The rsync engine: one rsync over SSH an experiment; its exit code is the verdict."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from asynchy.domain.attempt import EngineResult
from asynchy.domain.experiment import Copy
from asynchy.domain.stop import Stop
from asynchy.ssh import rsync
from asynchy.ssh.remote import Remote
from asynchy.transfer.engine import OnBytes

log = logging.getLogger(__name__)

_FOLDER_MODE = 0o2770
"""Folders that we make above the data: the project's group works in them, others stay out."""
_PARTIAL = os.fsencode(rsync.PARTIAL_DIR)


@dataclass(frozen=True)
class RsyncEngine:
    """Brings an experiment home with the system's rsync."""

    remote: Remote
    choices: rsync.Choices = field(default_factory=rsync.Choices)
    name: str = "rsync"
    check: str = "transport"
    """rsync compares a checksum of each whole file that it received."""

    @property
    def compare(self) -> str:
        """What makes a file at home the same as the facility's."""
        return self.choices.compare

    def require(self) -> None:
        """Look for rsync and ssh; see `Engine.require`."""
        rsync.require()
        self.remote.ssh_command()

    def transfer(self, copy: Copy, stop: Stop, on_bytes: OnBytes) -> EngineResult:
        """Run rsync once; see `Engine.transfer`."""
        _make_folders(copy.project_folder, copy.destination)
        scratch = copy.destination.parent / f".asynchy-{copy.destination.name}"
        _empty(scratch)
        try:
            paths = rsync.Paths(copy.source, copy.destination, scratch)
            result = rsync.transfer_tree(self.remote, paths, self.choices, stop, on_bytes)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if result.ok:
            _drop_partial_files(copy.destination, stop)
        return result


def _make_folders(project_folder: Path, destination: Path) -> None:
    """Make what is missing below the project folder, never the project folder itself."""
    folder = project_folder
    for part in destination.relative_to(project_folder).parts:
        folder /= part
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        folder.chmod(_FOLDER_MODE)


def _empty(scratch: Path) -> None:
    """A new folder for files on their way; what an rsync that was killed left there goes."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)


def _drop_partial_files(destination: Path, stop: Stop) -> None:
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
