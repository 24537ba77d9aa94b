"""What the result of an rsync says of the run that it is part of. Pure."""

from __future__ import annotations

import errno
from dataclasses import replace

from asynchy.engines.placing import failed
from asynchy.model.attempt import EngineResult
from asynchy.model.formatting import count
from asynchy.ssh.rsync import runner
from asynchy.ssh.rsync.fetcher import LONGEST_PATH
from asynchy.ssh.rsync.output import EXIT_CODES, VANISHED, is_absent

_FILE_IO = 11
"""rsync's exit code where it could not read or write a file."""


def found_one_too_large(result: EngineResult) -> bool:
    """Whether rsync ended because a file is larger than the file system at home takes."""
    return result.exit_code == _FILE_IO and "File too large (27)" in result.stderr


def path_too_long() -> OSError:
    """Why a file with a very long path is not asked for."""
    words = f"rsync cannot fetch a file whose path has more than {LONGEST_PATH:,} bytes"
    return OSError(errno.ENAMETOOLONG, words)


def others_may_come(result: EngineResult) -> bool:
    """Whether other files can be fetched although some could not."""
    if result.vanished:
        return True
    return result.exit_code == runner.PARTLY and not is_absent(result.stderr)


def without_times(result: EngineResult) -> EngineResult:
    """The result where times do not count: that home refuses them is no fault."""
    faults = [line for line in result.stderr.splitlines() if line.startswith("rsync: ")]
    if result.exit_code != runner.PARTLY or not faults or not all(map(_is_about_time, faults)):
        return result
    return replace(result, ok=True, exit_code=0, reason=None, hint=None)


def _is_about_time(line: str) -> bool:
    return "failed to set times on " in line


def rank(result: EngineResult) -> int:
    """How little a failure says of the whole run."""
    return result.vanished + others_may_come(result)


def stopped_result(reason: str) -> EngineResult:
    """The result of a run that ended because a stop was requested."""
    return replace(failed(reason, None, 0, 0), exit_code=-1, stopped=True)


def complete_result() -> EngineResult:
    """The result of a transfer in which nothing failed; who asks has counted what came."""
    return EngineResult(ok=True, exit_code=0, files=0, bytes=0, reason=None, hint=None, stderr="")


def vanished_result(files: int) -> EngineResult:
    """The result of a transfer in which nothing failed but that files vanished at the facility."""
    words = f"{count(files, 'file')} vanished at the facility"
    vanished = failed(EXIT_CODES[VANISHED], None, 0, 0, words)
    return replace(vanished, exit_code=VANISHED, vanished=True)
