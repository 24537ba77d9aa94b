"""rsync over SSH: command lines, and running them.

A command is always a list of arguments, never a shell's string. The remote path holds only
characters that no shell interprets (the config sees to that), so it needs no quoting either.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asynchy.domain.attempt import EngineResult
from asynchy.domain.bounds import Bounds, check_path
from asynchy.domain.experiment import Entry
from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.errors import (
    ExperimentAbsent,
    ListingError,
    ListingRefused,
    Stopped,
    ToolMissing,
)
from asynchy.plan.engine import Means
from asynchy.ssh import child, slots
from asynchy.ssh.causes import Explanation
from asynchy.ssh.remote import Remote
from asynchy.ssh.rsync_output import (
    VANISHED,
    Named,
    explain,
    is_absent,
    is_lost,
    parse_compared,
    parse_listed,
    parse_named,
    parse_progress,
    parse_statistic,
)

log = logging.getLogger(__name__)

_PARTLY = 23
"""rsync's exit code where the other side could not read all: rsync(1)."""
_NOT_ALLOWED = "rrsync error: unsafe arg"
"""rrsync(1) of a path that leads out of the folder that it is for; rsync then does nothing."""

MODES = ("--perms", "--chmod=Dg+s,ug+w,o-wx,ug+X", "--chmod=Du-s,D-t,Fug-s,F-t")
"""The original's modes; the second rule strips setuid, sticky and setgid on files, so that no
bit of the facility's gives anyone rights at home."""
FILTERS = ("--include=.info", "--exclude=.*")
"""Dot files are of no worth, save `.info`."""
PARTIAL_DIR = ".asynchy-partial"
"""In each folder at home, while a file in it has been fetched in part."""

_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "RSYNC_PROTECT_ARGS": "0"}
_ITEM = re.compile(rb"[<>ch.*][fdLDS][a-zA-Z+.? ]{9} |skipping |cd")
"""A line about one file or folder, as `--out-format=%i …` and `--info=nonreg` print it."""
_COMPARE = {"time": (), "size": ("--size-only",), "checksum": ("--checksum",)}


@dataclass(frozen=True)
class Paths:
    """From where to where a tree is brought."""

    source: str
    """A folder at the facility."""
    destination: Path
    """A folder at home."""
    scratch: Path
    """A folder in the destination's file system, for files on their way."""
    replaced: Path
    """A folder in that file system: where files are moved that others take the place of."""
    only: Path | None = None
    """A file that names those that are brought, each ended by NUL; None: the whole tree."""
    left_alone: Path | None = None
    """A file with the patterns of those that are not looked at, each ended by NUL."""


def list_tree(
    remote: Remote,
    source: str,
    on_entry: Callable[[Entry], None],
    stop: Stop,
    *,
    deep: bool = True,
) -> None:
    """Hand over every entry below a folder at the facility, the folder itself (`.`) included.

    Not `deep`: only what lies in the folder itself. The folder may be a symbolic link to one.

    `--no-inc-recursive`: rsync's incremental recursion waits for round trips.

    Raises:
        ListingError: it could not be listed whole.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    command = [
        *_start(remote),
        "--list-only",
        *(("--recursive", "--no-inc-recursive") if deep else ("--dirs",)),
        *FILTERS,
        "--",
        _address(remote, source),
    ]

    bounds = Bounds(remote.entries)

    def hand_over(line: bytes) -> None:
        try:
            entry = parse_listed(line)
            if entry is not None:
                check_path(source.encode(), entry.path)
                bounds.take([entry])
        except ValueError as error:
            raise ListingRefused(str(error), hint="ask the facility to rename it") from None
        if entry is not None:
            on_entry(entry)

    log.debug("listing: %s", " ".join(map(shown, command)))
    with slots.take(remote, stop, patient=True):
        ended = child.run(
            command,
            stop=stop,
            on_stdout=hand_over,
            on_stderr=_words(stop),
            environment=_ENVIRONMENT,
            timeout=remote.timeout,
        )
    if ended.stopped:
        raise Stopped("stopped while listing")
    if ended.still:
        raise _still(ended).as_error(ListingError)
    if ended.code != 0:
        explanation = explain(ended.code, ended.stderr)
        kind = ListingRefused if ended.code == _PARTLY else ListingError
        if is_absent(ended.stderr):
            kind = ExperimentAbsent
        raise explanation.as_error(kind)


def list_named(
    remote: Remote, folder: str, names: Sequence[bytes], stop: Stop, *, follow: bool
) -> dict[bytes, Named]:
    """What some entries of a folder are; those that are not there, or not told, are left out.

    With `follow`, a symbolic link to a folder is a folder; one that leads to none stays a link.
    The names hold only characters that no shell interprets. rsync(1): a slash at the end of a
    source follows a link, and with `--relative` names begin behind `/./`.

    Raises:
        ListingRefused: rrsync(1) allows one of them not; it looks at where a link leads.
        ListingError: it could not be asked.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    end = "/" if follow else ""
    sources = [f"{folder}/./{name.decode('ascii')}{end}" for name in names]
    command = [
        *_start(remote),
        "--list-only",
        "--dirs",
        "--relative",
        "--links",
        "--exclude=/*/*",
        "--",
        *(f"{_host(remote) if at == 0 else ''}:{source}" for at, source in enumerate(sources)),
    ]
    found: dict[bytes, Named] = {}
    wanted = set(names)

    def take(line: bytes) -> None:
        named = parse_named(line)
        if named is not None and named.name in wanted:
            found[named.name] = named

    with slots.take(remote, stop, patient=True):
        ended = child.run(
            command,
            stop=stop,
            on_stdout=take,
            on_stderr=lambda line: log.debug("rsync: %s", shown(line)),
            environment=_ENVIRONMENT,
            timeout=remote.timeout,
        )
    if ended.stopped:
        raise Stopped("stopped while listing")
    if ended.still:
        raise _still(ended).as_error(ListingError)
    if _NOT_ALLOWED in ended.stderr:
        raise ListingRefused(f"{folder}: the server allows some paths in it not to be read")
    if ended.code not in (0, _PARTLY):
        raise explain(ended.code, ended.stderr).as_error(ListingError)
    return found


def transfer_tree(  # noqa: PLR0913, PLR0917 - from where to where, how, how long, and who hears
    remote: Remote,
    paths: Paths,
    means: Means,
    stop: Stop,
    on_progress: Callable[[int, int], None],
    patience: float,
) -> EngineResult:
    """Bring the tree below a folder at the facility, or some of its files, to a folder at home.

    A file that is whole is renamed to its place; what was there is moved away. Stopped, or cut
    off, rsync keeps what it had of a file in `PARTIAL_DIR` beside its place and goes on from there
    the next time. `on_progress` hears how many bytes, and how many files, have arrived so far.
    After `patience` seconds without a word it is ended: what rsync itself sends now and then to a
    server that stands still keeps its own `--timeout` from ever passing.

    Raises:
        Stopped: a stop was asked for before there was a connection for it.
        ToolMissing: ssh or rsync is not installed.
    """
    per_file = log.isEnabledFor(logging.DEBUG)
    command = [
        *_start(remote),
        "--from0",
        *(("--recursive",) if paths.only is None else (f"--files-from={paths.only}",)),
        *((f"--exclude-from={paths.left_alone}",) if paths.left_alone is not None else ()),
        "--times",
        *MODES,
        *FILTERS,
        *_COMPARE[means.compare],
        *(("--links", "--safe-links") if means.symlinks else ()),
        *(("--specials",) if means.special_files else ()),
        *((f"--partial-dir={PARTIAL_DIR}",) if means.partial else ()),
        *(("--compress",) if means.compress else ()),
        *((f"--bwlimit={max(1, means.bandwidth // 1024)}",) if means.bandwidth else ()),
        f"--temp-dir={paths.scratch}",
        "--backup",
        f"--backup-dir={paths.replaced}",
        "--stats",
        "--info=progress2" if per_file else "--info=progress2,nonreg0",
        *(("--out-format=%i %l %n",) if per_file else ()),
        "--",
        _address(remote, paths.source),
        f"{paths.destination}/",
    ]
    statistics: dict[str, int] = {}

    def read(line: bytes) -> None:
        if (done := parse_progress(line)) is not None:
            on_progress(*done)
            return
        statistic = parse_statistic(line)
        if statistic is not None:
            statistics.setdefault(*statistic)
        if line.strip():
            about_a_file = per_file and _ITEM.match(line) is not None
            log.log(logging.DEBUG if about_a_file else logging.INFO, "rsync: %s", shown(line))

    log.debug("transfer: %s", " ".join(map(shown, command)))
    with slots.take(remote, stop, patient=True):
        ended = child.run(
            command,
            stop=stop,
            on_stdout=read,
            on_stderr=_words(stop),
            environment=_ENVIRONMENT,
            silence=patience,
            timeout=remote.timeout,
        )
    explanation = explain(ended.code, ended.stderr) if ended.code != 0 else None
    if ended.still:
        explanation = _still(ended)
    elif ended.silent:
        explanation = Explanation(
            f"no data came for {patience:.0f} s", "it is tried again in the next run"
        )
    hung = ended.silent or ended.still is not None
    distrust = explanation is not None and explanation.distrust
    return EngineResult(
        ok=ended.code == 0,
        exit_code=ended.code,
        files=statistics.get("Number of regular files transferred"),
        bytes=statistics.get("Literal data"),
        reason=explanation.reason if explanation else None,
        hint=explanation.hint if explanation else None,
        stderr=ended.stderr,
        stopped=ended.stopped,
        lost=hung or (is_lost(ended.code) and not distrust),
        vanished=ended.code == VANISHED,
    )


def _still(ended: child.Ended) -> Explanation:
    return Explanation(
        f"{ended.still} stood still for {ended.waited:.0f} s, and was ended",
        "look at the file system of the project folder (`df`, `dmesg`), and at the processes",
    )


def pattern_of(path: bytes) -> bytes:
    """The filter pattern that one file of a tree matches, and no other: rsync(1), PATTERN RULES.

    Without a wildcard in it a backslash stands for itself.
    """
    if any(sign in path for sign in b"*?["):
        path = re.sub(rb"([\\*?[])", rb"\\\1", path)
    return b"/" + path


def compare_files(  # noqa: PLR0913, PLR0917 - two trees, what of them, and how long
    remote: Remote,
    source: str,
    destination: Path,
    paths: Iterable[bytes],
    on_result: Callable[[bytes, bool], None],
    stop: Stop,
    patience: float,
) -> None:
    """Hand over the path of each file and whether it is the same on both sides, by its checksum.

    Nothing is written. A file that the facility does not have, or does not let be read, is not
    handed over. While rsync makes checksums nothing passes between the two; after `patience`
    seconds of that it is given up.

    Raises:
        ListingError: the connection could not be made or broke off, or rsync does not do it.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    command = [
        *_start(remote, patience),
        "--dry-run",
        "--checksum",
        "--itemize-changes",
        "--itemize-changes",  # twice: tell what is the same, too
        "--out-format=%i %n",
        "--from0",
        "--files-from=-",
        "--",
        _address(remote, source),
        f"{destination}/",
    ]

    def hear(line: bytes) -> None:
        if (compared := parse_compared(line)) is not None:
            on_result(*compared)

    with slots.take(remote, stop, patient=True):
        ended = child.run(
            command,
            stop=stop,
            on_stdout=hear,
            on_stderr=lambda line: log.debug("rsync: %s", shown(line)),
            environment=_ENVIRONMENT,
            stdin=b"".join(path + b"\0" for path in paths),
            timeout=remote.timeout,
            wakes=patience,
        )
    if ended.stopped:
        raise Stopped("stopped while rsync compared checksums")
    if ended.still:
        raise _still(ended).as_error(ListingError)
    if ended.code not in (0, _PARTLY, VANISHED):
        explanation = explain(ended.code, ended.stderr)
        raise explanation.as_error(ListingError if is_lost(ended.code) else ListingRefused)


def require() -> None:
    """Look for rsync on this machine.

    Raises:
        ToolMissing: it is not installed.
    """
    if shutil.which("rsync") is None:
        raise ToolMissing("rsync is not installed", hint="install the package rsync")


def _start(remote: Remote, timeout: float | None = None) -> list[str]:
    require()
    shell = child.bound_to_parent(remote.ssh_command())
    return [
        "rsync",
        "--no-human-readable",
        f"--timeout={timeout or remote.timeout:.0f}",
        f"--rsh={' '.join(map(_quoted, shell))}",
    ]


def _quoted(argument: str) -> str:
    """An argument within `--rsh`: rsync splits at blanks, and a doubled quote stands for one."""
    if argument and not set(argument) & set(" \t\n\"'"):
        return argument
    return '"' + argument.replace('"', '""') + '"'


def _address(remote: Remote, source: str) -> str:
    return f"{_host(remote)}:{source}/"


def _host(remote: Remote) -> str:
    return f"[{remote.host}]" if ":" in remote.host else remote.host


def _words(stop: Stop) -> Callable[[bytes], None]:
    """Log what rsync and ssh complain of; once we have ended them ourselves, it is no news."""

    def log_line(line: bytes) -> None:
        if line.strip():
            log.log(logging.DEBUG if stop.asked else logging.WARNING, "rsync: %s", shown(line))

    return log_line
