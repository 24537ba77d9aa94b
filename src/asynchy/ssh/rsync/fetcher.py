"""Fetches files with rsync over SSH into a folder that asynchy manages."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asynchy.model.attempt import EngineResult
from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.model.transfer_options import TransferOptions
from asynchy.ssh import subprocess_runner
from asynchy.ssh.error_causes import Explanation
from asynchy.ssh.rsync import runner
from asynchy.ssh.rsync.output import (
    FILES_VANISHED,
    explain,
    is_about_time_or_mode,
    is_complaint,
    is_lost,
    parse_progress,
    parse_refused,
    parse_statistic,
)
from asynchy.ssh.server import Server

log = logging.getLogger(__name__)

_OWNER_ONLY = "--chmod=D0700,F0600"
"""The modes of files during the transfer; they get their final ones when they are put in place."""
_SPECIAL = ("--perms", "--chmod=Dg+s,ug+w,o-wx,ug+X,u+r", "--chmod=Du-s,D-t,Fug-s,F-t")
"""The modes of special files; the second rule strips setuid, sticky and setgid on files, so that no
bit of the facility's gives anyone rights at home."""
PARTIAL_DIR = ".asynchy-partial"
"""In each folder that rsync writes into, while a file in it has been fetched in part."""
TEMPORARY = ".asynchy-temporary"
"""In the folder that rsync is started in: its temporary files. (rsync 3.5.0 refuses a path to them
with `..` in it.)"""

MAX_PATH_BYTES = 4093
"""Bytes of a path in the experiment that rsync is asked for. For a longer one, rsync 3.2.5 and
later end the whole run, as if the server had sent a file that was not asked for."""

_ITEM = re.compile(rb"[<>ch.*][fdLDS][a-zA-Z+.? ]{9} |skipping |cd")
"""A line about one file or folder, as `--out-format=%i …` prints it, or of what is skipped."""


@dataclass(frozen=True)
class Paths:
    """From where to where files are brought."""

    source: str
    """A folder at the facility."""
    folder: int
    """A folder at home, open, in which nobody else can change anything."""
    earlier: Path | None
    """A folder with earlier versions of some of the files, if there are any; it is only read."""


def fetch_files(  # noqa: PLR0913, PLR0917 - paths, source, target, options, limits, callbacks
    remote: Server,
    paths: Paths,
    names: Iterable[bytes],
    transfer_options: TransferOptions,
    stop: Stop,
    on_progress: Callable[[int, int], None],
    on_refused: Callable[[bytes, OSError], None],
    idle_timeout: float,
) -> EngineResult:
    """Bring some files below a folder at the facility to the same paths in a folder at home.

    A file that is whole is renamed to its path there. One that is not at the facility is left out.
    Stopped, or cut off, rsync keeps what it had of a file in `PARTIAL_DIR` beside that path and
    goes on from there the next time. `on_progress` gets the numbers of bytes and of files that
    have arrived so far. `on_refused` gets the path of each file or folder that the file system at
    home refuses, and why: that is not a failure here. (Of a file it may be the name in
    `TEMPORARY`: see `parse_refused`.) Nor is a time or mode that home does not take. After
    `idle_timeout` seconds without output it is ended: what rsync itself sends now and then to a
    server that hangs keeps its own `--timeout` from ever passing.

    All of them are fetched, whatever size and time the earlier version has (`--ignore-times`): it
    is only a basis for the differences that are sent. Whoever puts a link in its place has rsync
    read another file, but the checksum of the whole file decides what the one that was fetched has
    in it.

    Raises:
        Stopped: a stop was requested before there was a connection for it.
        ToolMissing: ssh or rsync is not installed.
    """
    options = [
        "--from0",
        "--files-from=-",
        "--no-implied-dirs",
        "--ignore-missing-args",
        "--ignore-times",
        _OWNER_ONLY,
        *((f"--compare-dest={paths.earlier}",) if paths.earlier is not None else ()),
        f"--temp-dir={TEMPORARY}",
        *((f"--partial-dir={PARTIAL_DIR}",) if transfer_options.partial else ()),
        *(("--compress",) if transfer_options.compress else ()),
    ]
    refusals = _Refusals(paths.folder, stop, on_refused)
    fetch = _Fetch(remote, paths.source, paths.folder, on_progress, refusals)
    listed = runner.list_of_paths(names)
    return fetch.run(options, listed, stop, idle_timeout, transfer_options.bandwidth)


def fetch_links(  # noqa: PLR0913, PLR0917 - source, target, options, callbacks, limits
    remote: Server,
    source: str,
    folder: int,
    transfer_options: TransferOptions,
    stop: Stop,
    on_refused: Callable[[bytes, OSError], None],
    idle_timeout: float,
) -> EngineResult:
    """Fetch the symbolic links and special files below a folder at the facility.

    Links point to `MUNGED` (`output`) and their target then, so that nothing can be reached through
    them meanwhile. Folders come, and files of no bytes: rsync(1), `--munge-links`, `--max-size`.
    `on_refused` gets the path of each that the file system at home refuses, and why; that is not a
    failure here.

    Raises:
        Stopped: a stop was requested before there was a connection for it.
        ToolMissing: ssh or rsync is not installed.
    """
    options = [
        "--recursive",
        "--max-size=0",
        *_SPECIAL,
        *runner.filters(dot_files=transfer_options.dot_files),
        *(("--links", "--munge-links") if transfer_options.symlinks else ()),
        *(("--specials",) if transfer_options.special_files else ()),
    ]
    refusals = _Refusals(folder, stop, on_refused)
    return _Fetch(remote, source, folder, lambda *_: None, refusals).run(
        options, b"", stop, idle_timeout
    )


class _Refusals:
    """rsync's messages on stderr; hands over the paths that the file system at home refuses."""

    def __init__(
        self, folder: int, stop: Stop, on_refused: Callable[[bytes, OSError], None]
    ) -> None:
        self._target_folder = os.fsencode(Path(f"/proc/self/fd/{folder}").readlink())
        self._log_line = runner.stderr_logger(stop)
        self._on_refused = on_refused
        self._refused = self._other_problems = False

    def add_line(self, line: bytes) -> None:
        """Take a line of stderr; whoever gets the refused paths logs them."""
        found = parse_refused(line, self._target_folder)
        if found is not None:
            self._on_refused(*found)
        elif not is_about_time_or_mode(line):
            self._other_problems |= is_complaint(line)
            self._log_line(line)
            return
        self._refused = True
        log.debug("rsync: %s", escaped(line))

    def are_all(self, result: EngineResult) -> bool:
        """Whether that is all that is wrong."""
        return (
            result.exit_code == runner.PARTIAL_TRANSFER
            and self._refused
            and not self._other_problems
        )


class _Fetch:
    """An rsync that writes into a folder at home."""

    def __init__(
        self,
        remote: Server,
        source: str,
        folder: int,
        on_progress: Callable[[int, int], None],
        refusals: _Refusals,
    ) -> None:
        self._remote = remote
        self._source = source
        self._folder = folder
        self._on_progress = on_progress
        self._refusals = refusals
        self._per_file = log.isEnabledFor(logging.DEBUG)
        self._statistics: dict[str, int] = {}

    def run(
        self,
        options: Sequence[str],
        names: bytes,
        stop: Stop,
        idle_timeout: float,
        bandwidth: BandwidthTimetable | None = None,
    ) -> EngineResult:
        """Run it in that folder: to `.` it goes without a path that leads there."""
        remote = self._remote
        command = [
            *runner.start(remote, bandwidth=bandwidth),
            *options,
            "--times",
            "--stats",
            "--info=progress2",
            *(("--out-format=%i %l %n",) if self._per_file else ()),
            "--",
            runner.address(remote, self._source),
            ".",
        ]
        log.debug("transfer: %s", " ".join(map(escaped, command)))
        process_result = runner.run(
            remote,
            command,
            stop,
            on_stdout=self._read,
            on_stderr=self._refusals.add_line,
            stdin=names,
            idle_timeout=idle_timeout,
            timeout=remote.timeout,
            folder=self._folder,
        )
        result = self._result(process_result, idle_timeout)
        if self._refusals.are_all(result):
            return replace(result, ok=True, exit_code=0, reason=None, hint=None)
        return result

    def _read(self, line: bytes) -> None:
        if (progress := parse_progress(line)) is not None:
            self._on_progress(*progress)
            return
        statistic = parse_statistic(line)
        if statistic is not None:
            self._statistics.setdefault(*statistic)
        if line.strip():
            about_a_file = _ITEM.match(line) is not None
            log.log(logging.DEBUG if about_a_file else logging.INFO, "rsync: %s", escaped(line))

    def _result(
        self, process_result: subprocess_runner.ProcessResult, idle_timeout: float
    ) -> EngineResult:
        explanation = (
            explain(process_result.code, process_result.stderr)
            if process_result.code != 0
            else None
        )
        if process_result.hung_process:
            explanation = runner.hang_explanation(process_result)
        elif process_result.was_silent:
            explanation = Explanation(
                f"no data came for {idle_timeout:.0f} s", "it is tried again in the next run"
            )
        hung = process_result.was_silent or process_result.hung_process is not None
        distrust = explanation is not None and explanation.distrust
        return EngineResult(
            ok=process_result.code == 0,
            exit_code=process_result.code,
            files=self._statistics.get("Number of regular files transferred"),
            bytes=self._statistics.get("Literal data"),
            reason=explanation.reason if explanation else None,
            hint=explanation.hint if explanation else None,
            stderr=process_result.stderr,
            stopped=process_result.stopped,
            lost=hung or (is_lost(process_result.code) and not distrust),
            vanished=process_result.code == FILES_VANISHED,
        )
