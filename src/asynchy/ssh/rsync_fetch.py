"""rsync over SSH fetches files into a folder of ours; see `rsync` for the command lines."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asynchy.domain.attempt import EngineResult
from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.plan.engine import Means
from asynchy.ssh import child, rsync, slots
from asynchy.ssh.causes import Explanation
from asynchy.ssh.remote import Remote
from asynchy.ssh.rsync_output import (
    VANISHED,
    explain,
    is_lost,
    parse_progress,
    parse_statistic,
)

log = logging.getLogger(__name__)

MODES = ("--perms", "--chmod=Dg+s,ug+w,o-wx,ug+X", "--chmod=Du-s,D-t,Fug-s,F-t")
"""The original's modes; the second rule strips setuid, sticky and setgid on files, so that no
bit of the facility's gives anyone rights at home."""
PARTIAL_DIR = ".asynchy-partial"
"""In each folder that rsync writes into, while a file in it has been fetched in part."""
TEMPORARY = ".asynchy-temporary"
"""In the folder that rsync is started in: its temporary files. (rsync 3.5.0 refuses a path to them
with `..` in it.)"""

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


def fetch_files(  # noqa: PLR0913, PLR0917 - what, from where to where, how, how long, who hears
    remote: Remote,
    paths: Paths,
    names: Iterable[bytes],
    means: Means,
    stop: Stop,
    on_progress: Callable[[int, int], None],
    patience: float,
) -> EngineResult:
    """Bring some files below a folder at the facility to the same paths in a folder at home.

    A file that is whole is renamed to its path there. One that is not at the facility is left out.
    Stopped, or cut off, rsync keeps what it had of a file in `PARTIAL_DIR` beside that path and
    goes on from there the next time. `on_progress` hears how many bytes, and how many files, have
    arrived so far. After `patience` seconds without a word it is ended: what rsync itself sends now
    and then to a server that stands still keeps its own `--timeout` from ever passing.

    All of them are fetched, whatever size and time the earlier version has (`--ignore-times`): that
    is only a basis for what is sent. Whoever puts a link in its place has rsync read another file,
    but the checksum of the whole file decides what the one that was fetched has in it.

    Raises:
        Stopped: a stop was asked for before there was a connection for it.
        ToolMissing: ssh or rsync is not installed.
    """
    options = [
        "--from0",
        "--files-from=-",
        "--no-implied-dirs",
        "--ignore-missing-args",
        "--ignore-times",
        *MODES,
        *((f"--compare-dest={paths.earlier}",) if paths.earlier is not None else ()),
        f"--temp-dir={TEMPORARY}",
        *((f"--partial-dir={PARTIAL_DIR}",) if means.partial else ()),
        *(("--compress",) if means.compress else ()),
        *((f"--bwlimit={max(1, means.bandwidth // 1024)}",) if means.bandwidth else ()),
    ]
    fetch = _Fetch(remote, paths.source, paths.folder, on_progress)
    return fetch.run(options, b"".join(path + b"\0" for path in names), stop, patience)


def fetch_links(  # noqa: PLR0913, PLR0917 - from where to where, how, and how long
    remote: Remote, source: str, folder: int, means: Means, stop: Stop, patience: float
) -> EngineResult:
    """Bring the symbolic links and special files below a folder at the facility, as `means` say.

    Links that lead out of the experiment are left out. Folders come too, and files of no bytes:
    rsync(1), `--max-size`.

    Raises:
        Stopped: a stop was asked for before there was a connection for it.
        ToolMissing: ssh or rsync is not installed.
    """
    options = [
        "--recursive",
        "--max-size=0",
        *MODES,
        *rsync.FILTERS,
        *(("--links", "--safe-links") if means.symlinks else ()),
        *(("--specials",) if means.special_files else ()),
    ]
    return _Fetch(remote, source, folder, lambda *_: None).run(options, b"", stop, patience)


class _Fetch:
    """An rsync that writes into a folder at home."""

    def __init__(
        self, remote: Remote, source: str, folder: int, on_progress: Callable[[int, int], None]
    ) -> None:
        self._remote = remote
        self._source = source
        self._folder = folder
        self._on_progress = on_progress
        self._per_file = log.isEnabledFor(logging.DEBUG)
        self._statistics: dict[str, int] = {}

    def run(
        self, options: Sequence[str], names: bytes, stop: Stop, patience: float
    ) -> EngineResult:
        """Run it in that folder: to `.` it goes without a path that leads there."""
        remote = self._remote
        command = [
            *rsync.start(remote),
            *options,
            "--times",
            "--stats",
            "--info=progress2",
            *(("--out-format=%i %l %n",) if self._per_file else ()),
            "--",
            rsync.address(remote, self._source),
            ".",
        ]
        log.debug("transfer: %s", " ".join(map(shown, command)))
        with slots.take(remote, stop, patient=True):
            ended = child.run(
                command,
                stop=stop,
                on_stdout=self._read,
                on_stderr=rsync.words(stop),
                environment=rsync.ENVIRONMENT,
                stdin=names,
                silence=patience,
                timeout=remote.timeout,
                folder=self._folder,
            )
        return self._result(ended, patience)

    def _read(self, line: bytes) -> None:
        if (done := parse_progress(line)) is not None:
            self._on_progress(*done)
            return
        statistic = parse_statistic(line)
        if statistic is not None:
            self._statistics.setdefault(*statistic)
        if line.strip():
            about_a_file = _ITEM.match(line) is not None
            log.log(logging.DEBUG if about_a_file else logging.INFO, "rsync: %s", shown(line))

    def _result(self, ended: child.Ended, patience: float) -> EngineResult:
        explanation = explain(ended.code, ended.stderr) if ended.code != 0 else None
        if ended.still:
            explanation = rsync.still(ended)
        elif ended.silent:
            explanation = Explanation(
                f"no data came for {patience:.0f} s", "it is tried again in the next run"
            )
        hung = ended.silent or ended.still is not None
        distrust = explanation is not None and explanation.distrust
        return EngineResult(
            ok=ended.code == 0,
            exit_code=ended.code,
            files=self._statistics.get("Number of regular files transferred"),
            bytes=self._statistics.get("Literal data"),
            reason=explanation.reason if explanation else None,
            hint=explanation.hint if explanation else None,
            stderr=ended.stderr,
            stopped=ended.stopped,
            lost=hung or (is_lost(ended.code) and not distrust),
            vanished=ended.code == VANISHED,
        )
