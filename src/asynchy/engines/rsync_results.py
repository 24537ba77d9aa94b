"""Interprets the result of one rsync for the run that it is part of. Pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace

from asynchy.engines.placement import failed
from asynchy.localfs.safe_tree import is_about_one_file
from asynchy.model.attempt import EngineResult
from asynchy.model.experiment import Entry
from asynchy.model.formatting import count
from asynchy.ssh.rsync import runner
from asynchy.ssh.rsync.fetcher import MAX_PATH_BYTES, TEMPORARY
from asynchy.ssh.rsync.output import EXIT_CODES, FILES_VANISHED, is_absent

_NOT_WRITTEN = "write failed on "
_FILE_IO_ERROR = 11
"""rsync's exit code where it could not read or write a file."""
_TEMPORARY = TEMPORARY.encode()
_MAX_NAME_BYTES = 246
"""Bytes of the name of a file up to which rsync does not cut that of its temporary one."""


def ended_at_a_file(result: EngineResult) -> bool:
    """Whether rsync ended because a file could not be written at home."""
    return result.exit_code == _FILE_IO_ERROR and _NOT_WRITTEN in result.stderr


def path_too_long() -> OSError:
    """Why a file with a very long path is not asked for."""
    message = f"rsync cannot fetch a file whose path has more than {MAX_PATH_BYTES:,} bytes"
    return OSError(errno.ENAMETOOLONG, message)


class RefusedPaths:
    """The paths that the folder at home refuses, as the rsyncs of one run report them."""

    def __init__(self) -> None:
        self._paths: dict[bytes, OSError] = {}
        self._temporary: dict[bytes, OSError] = {}
        """By the names of temporary files, which are those of the files, perhaps cut."""

    def note(self, path: bytes, error: OSError) -> None:
        """Add a path that one reported; see `output.parse_refused`."""
        folder, _, name = path.rpartition(b"/")
        if folder == _TEMPORARY:
            self._temporary.setdefault(name, error)
        else:
            self._paths.setdefault(path, error)

    def error_of(self, path: bytes) -> OSError | None:
        """Why a file that did not come was refused, or a folder that it is in; None: it was not."""
        parts = path.split(b"/")
        for depth in range(1, len(parts) + 1):
            if (error := self._paths.get(b"/".join(parts[:depth]))) is not None:
                return error
        name = parts[-1]
        if len(name) <= _MAX_NAME_BYTES or name in self._temporary:
            return self._temporary.get(name)
        cut = (error for start, error in self._temporary.items() if name.startswith(start))
        return next(cut, None)


def not_written(
    result: EngineResult, lacking: Sequence[Entry], refused: RefusedPaths
) -> tuple[Entry, OSError] | None:
    """The file at which an rsync ended, and why; None: it is not known, or about all files.

    Its report of which file is too large is not reliable. The largest that did not come is too
    large, too.
    """
    if "File too large (27)" in result.stderr and lacking:
        error = OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return max(lacking, key=lambda entry: entry.size), error
    refusals = ((entry, refused.error_of(entry.path)) for entry in lacking)
    return next(
        ((entry, error) for entry, error in refusals if error and is_about_one_file(error)), None
    )


def others_may_come(result: EngineResult) -> bool:
    """Whether other files can be fetched although some could not."""
    if result.vanished:
        return True
    return result.exit_code == runner.PARTIAL_TRANSFER and not is_absent(result.stderr)


def rank(result: EngineResult) -> int:
    """The order of failures: the lowest concerns the whole run."""
    return result.vanished + others_may_come(result)


def stopped_result(reason: str) -> EngineResult:
    """The result of a run that ended because a stop was requested."""
    return replace(failed(reason, None, 0, 0), exit_code=-1, stopped=True)


def complete_result() -> EngineResult:
    """The result of a transfer in which nothing failed; the caller has counted the files."""
    return EngineResult(ok=True, exit_code=0, files=0, bytes=0, reason=None, hint=None, stderr="")


def vanished_result(files: int) -> EngineResult:
    """The result of a transfer in which nothing failed but that files vanished at the facility."""
    message = f"{count(files, 'file')} vanished at the facility"
    vanished = failed(EXIT_CODES[FILES_VANISHED], None, 0, 0, message)
    return replace(vanished, exit_code=FILES_VANISHED, vanished=True)
