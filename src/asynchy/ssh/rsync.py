"""rsync over SSH: command lines, and running them.

A command is always a list of arguments, never a shell's string. The remote path holds only
characters that no shell interprets (the config sees to that), so it needs no quoting either.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from asynchy.domain.bounds import Bounds, check_path
from asynchy.domain.experiment import Entry
from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.errors import (
    ExperimentAbsent,
    ListingError,
    ListingRefused,
    ServerUnreachable,
    Stopped,
    ToolMissing,
)
from asynchy.ssh import child, slots
from asynchy.ssh.causes import SSH_FAILED, Explanation
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
)

log = logging.getLogger(__name__)

PARTLY = 23
"""rsync's exit code where the other side could not read all: rsync(1)."""
_NOT_ALLOWED = "rrsync error: unsafe arg"
"""rrsync(1) of a path that leads out of the folder that it is for; rsync then does nothing."""

FILTERS = ("--include=.info", "--exclude=.*")
"""Dot files are of no worth, save `.info`."""
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "RSYNC_PROTECT_ARGS": "0"}


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
        *start(remote),
        "--list-only",
        *(("--recursive", "--no-inc-recursive") if deep else ("--dirs",)),
        *FILTERS,
        "--",
        address(remote, source),
    ]

    bounds = Bounds(remote.entries)
    begun = False

    def hand_over(line: bytes) -> None:
        nonlocal begun
        begun = True
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
            on_stderr=words(stop),
            environment=ENVIRONMENT,
            timeout=remote.timeout,
        )
    if ended.stopped:
        raise Stopped("stopped while listing")
    if ended.still:
        raise still(ended).as_error(ListingError)
    if ended.code != 0:
        explanation = explain(ended.code, ended.stderr)
        kind = ListingRefused if ended.code == PARTLY else ListingError
        if ended.code == SSH_FAILED and not begun:
            kind = ServerUnreachable
            explanation = replace(explanation, reason=f"{remote.host}: {explanation.reason}")
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
        *start(remote),
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
            environment=ENVIRONMENT,
            timeout=remote.timeout,
        )
    if ended.stopped:
        raise Stopped("stopped while listing")
    if ended.still:
        raise still(ended).as_error(ListingError)
    if _NOT_ALLOWED in ended.stderr:
        raise ListingRefused(f"{folder}: the server allows some paths in it not to be read")
    if ended.code not in (0, PARTLY):
        raise explain(ended.code, ended.stderr).as_error(ListingError)
    return found


def still(ended: child.Ended) -> Explanation:
    """What to say of a process that stood still."""
    return Explanation(
        f"{ended.still} stood still for {ended.waited:.0f} s, and was ended",
        "look at the file system of the project folder (`df`, `dmesg`), and at the processes",
    )


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
        *start(remote, patience),
        "--dry-run",
        "--checksum",
        "--itemize-changes",
        "--itemize-changes",  # twice: tell what is the same, too
        "--out-format=%i %n",
        "--from0",
        "--files-from=-",
        "--",
        address(remote, source),
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
            environment=ENVIRONMENT,
            stdin=b"".join(path + b"\0" for path in paths),
            timeout=remote.timeout,
            wakes=patience,
        )
    if ended.stopped:
        raise Stopped("stopped while rsync compared checksums")
    if ended.still:
        raise still(ended).as_error(ListingError)
    if ended.code not in (0, PARTLY, VANISHED):
        explanation = explain(ended.code, ended.stderr)
        raise explanation.as_error(ListingError if is_lost(ended.code) else ListingRefused)


def require() -> None:
    """Look for rsync on this machine.

    Raises:
        ToolMissing: it is not installed.
    """
    if shutil.which("rsync") is None:
        raise ToolMissing("rsync is not installed", hint="install the package rsync")


def start(remote: Remote, timeout: float | None = None) -> list[str]:
    """The command line of every rsync up to what it is to do.

    Raises:
        ToolMissing: ssh or rsync is not installed.
    """
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


def address(remote: Remote, source: str) -> str:
    """What is in a folder at the facility, as an argument of rsync."""
    return f"{_host(remote)}:{source}/"


def _host(remote: Remote) -> str:
    return f"[{remote.host}]" if ":" in remote.host else remote.host


def words(stop: Stop) -> Callable[[bytes], None]:
    """Log what rsync and ssh complain of; once we have ended them ourselves, it is no news."""

    def log_line(line: bytes) -> None:
        if line.strip():
            log.log(logging.DEBUG if stop.asked else logging.WARNING, "rsync: %s", shown(line))

    return log_line
