"""The rsync engine: one rsync over SSH an experiment; its exit code is the verdict."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from asynchy.domain.attempt import EngineResult
from asynchy.domain.experiment import Copy
from asynchy.domain.stop import Stop
from asynchy.ssh import rsync
from asynchy.ssh.remote import Remote
from asynchy.transfer.engine import OnBytes

_FOLDER_MODE = 0o2770
"""Folders that we make above the data: the project's group works in them, others stay out."""


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

    def transfer(self, copy: Copy, stop: Stop, on_bytes: OnBytes) -> EngineResult:
        """Run rsync once; see `Engine.transfer`."""
        _make_folders(copy.project_folder, copy.destination)
        scratch = copy.destination.parent / f".asynchy-{copy.destination.name}"
        _empty(scratch)
        try:
            paths = rsync.Paths(copy.source, copy.destination, scratch)
            return rsync.transfer_tree(self.remote, paths, self.choices, stop, on_bytes)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


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
