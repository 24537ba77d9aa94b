"""The rsync engine: one rsync over SSH an experiment; its exit code is the verdict."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from asynchy.domain.attempt import EngineResult
from asynchy.domain.stop import Stop
from asynchy.plan.engine import Means
from asynchy.ssh import rsync
from asynchy.ssh.remote import Remote
from asynchy.transfer.engine import Job, OnProgress
from asynchy.transfer.home import Home, make_folders, scratch_of
from asynchy.transfer.leftovers import drop_partial_files


@dataclass(frozen=True)
class RsyncEngine:
    """Brings an experiment home with the system's rsync."""

    remote: Remote
    means: Means = field(default_factory=Means)
    chosen: str = "it was asked for"
    name: str = "rsync"
    check: str = "transport"
    """rsync compares a checksum of each whole file that it received."""

    @property
    def compare(self) -> str:
        """What makes a file at home the same as the facility's."""
        return self.means.compare

    def require(self) -> None:
        """Look for rsync and ssh; see `Engine.require`."""
        rsync.require()
        self.remote.ssh_command()

    def transfer(self, job: Job, stop: Stop, on_progress: OnProgress) -> EngineResult:
        """Run rsync; see `Engine.transfer`."""
        copy = job.copy
        make_folders(copy)
        scratch = scratch_of(copy) / "rsync"
        _empty(scratch)
        files = 0

        def hear(done: int, told: int) -> None:
            nonlocal files
            files = max(files, told)
            on_progress(done, files)

        try:
            paths = rsync.Paths(copy.source, copy.destination, scratch)
            result = rsync.transfer_tree(self.remote, paths, self.means, stop, hear)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with contextlib.suppress(OSError):  # parts of the sftp engine lie there
                scratch.parent.rmdir()
        if result.ok:
            shutil.rmtree(scratch.parent, ignore_errors=True)
            drop_partial_files(copy.destination, stop)
            with Home(copy.destination) as home:
                home.flush()
        return result


def _empty(scratch: Path) -> None:
    """A new folder for files on their way; what an rsync that was killed left there goes."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.parent.mkdir(mode=0o700, exist_ok=True)
    scratch.mkdir(mode=0o700)
