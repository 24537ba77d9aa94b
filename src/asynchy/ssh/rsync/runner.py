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
from typing import Any

from asynchy.errors import (
    ExperimentAbsent,
    ListingError,
    ListingRefused,
    ServerBusy,
    ServerUnreachable,
    Stopped,
    ToolMissing,
)
from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry, EntryKind, Unlisted
from asynchy.model.formatting import escaped
from asynchy.model.listing_limits import ListingLimits, check_name
from asynchy.model.remote_names import OWN_PREFIX, is_wanted
from asynchy.ssh import connection_limit, subprocess_runner
from asynchy.ssh.error_causes import (
    REFUSED_BACKOFF,
    REFUSED_TRIES,
    SSH_FAILED,
    Explanation,
    cause,
)
from asynchy.ssh.rsync.limited_shell import limited
from asynchy.ssh.rsync.output import (
    FILES_VANISHED,
    Named,
    ended_at_once,
    explain,
    is_absent,
    is_complaint,
    is_explained,
    is_lost,
    parse_compared,
    parse_listed,
    parse_named,
    parse_unlisted,
)
from asynchy.ssh.server import Server

log = logging.getLogger(__name__)

PARTIAL_TRANSFER = 23
"""rsync's exit code where the other side could not read all: rsync(1)."""
_NOT_ALLOWED = "rrsync error: unsafe arg"
"""rrsync(1) of a path that leads out of the folder that it is for; rsync then does nothing."""

_PATH_LIST_BLOCK = 2048  # bytes
"""Bytes of a list of paths that rsync reads at a time: FILESFROM_BUFLEN of its io.c."""
_OWN_FILES = f"{OWN_PREFIX.decode()}*"
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "RSYNC_PROTECT_ARGS": "0"}


def list_tree(  # noqa: PLR0913 - server, folder, callbacks, depth
    remote: Server,
    source: str,
    on_entry: Callable[[Entry], None],
    stop: Stop,
    *,
    deep: bool = True,
    dot_files: bool = False,
) -> list[Unlisted]:
    """Hand over every entry below a folder at the facility, the folder itself (`.`) included.

    Not `deep`: only what is in the folder itself. The folder may be a symbolic link to one.
    Dot files and folders, save `.info`, are handed over as such, and not entered, unless
    `dot_files`. The folders in it that could not be listed are returned.

    `--no-inc-recursive`: rsync's incremental recursion waits for round trips.

    Raises:
        ListingError: it could not be listed.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    command = [
        *start(remote),
        "--list-only",
        *(("--recursive", "--no-inc-recursive") if deep else ("--dirs",)),
        *(() if dot_files else ("--include=.info/*", "--exclude=.*/*")),
        f"--exclude={_OWN_FILES}/*",
        "--",
        address(remote, source),
    ]

    bounds = ListingLimits(remote.entries)
    has_output = False

    def hand_over(line: bytes) -> None:
        nonlocal has_output
        has_output = True
        try:
            entry = _listed(line, dot_files=dot_files)
            if entry is not None:
                check_name(entry.path)
                bounds.take([entry])
        except ValueError as error:
            raise ListingRefused(str(error), hint="ask the facility to rename it") from None
        if entry is not None:
            on_entry(entry)

    complaints = _Complaints(source.encode(), stderr_logger(stop), dot_files=dot_files)
    log.debug("listing: %s", " ".join(map(escaped, command)))
    result = run(
        remote,
        command,
        stop,
        on_stdout=hand_over,
        on_stderr=complaints.add_line,
        timeout=remote.timeout,
    )
    if result.stopped:
        raise Stopped("stopped while listing")
    if result.hung_process:
        raise hang_explanation(result).as_error(ListingError)
    if result.code != 0 and not (result.code == PARTIAL_TRANSFER and complaints.are_about_folders):
        explanation = explain(result.code, result.stderr)
        kind = ListingRefused if result.code == PARTIAL_TRANSFER else ListingError
        at_once = ended_at_once(result.code, result.stderr) and _NOT_ALLOWED not in result.stderr
        if (result.code == SSH_FAILED or at_once) and not has_output:
            kind = ServerUnreachable
            explanation = replace(explanation, reason=f"{remote.host}: {explanation.reason}")
        if is_absent(result.stderr):
            kind = ExperimentAbsent
        raise explanation.as_error(kind)
    return list(complaints.unlisted.values())


class _Complaints:
    """rsync's messages on stderr during a listing."""

    def __init__(
        self, source: bytes, log_line: Callable[[bytes], None], *, dot_files: bool
    ) -> None:
        self.unlisted: dict[bytes, Unlisted] = {}
        """By their paths the folders that it could not list."""
        self.are_about_folders = False
        """Whether all that it complained of is that it could not list some folders."""
        self._source = source
        self._log_line = log_line
        self._dot_files = dot_files
        self._other_problems = False

    def add_line(self, line: bytes) -> None:
        """Take a line of stderr.

        It also looks into a dot folder that is left out: that one may be closed.
        """
        self._log_line(line)
        folder = parse_unlisted(line, self._source)
        if folder is None:
            self._other_problems |= is_complaint(line)
        elif is_wanted(folder.path.rpartition(b"/")[2], dot_files=self._dot_files):
            self.unlisted.setdefault(folder.path, folder)
        self.are_about_folders = not self._other_problems and (
            self.are_about_folders or folder is not None
        )


def _listed(line: bytes, *, dot_files: bool) -> Entry | None:
    entry = parse_listed(line)
    if entry is None or entry.path == b".":
        return entry
    if is_wanted(entry.path.rpartition(b"/")[2], dot_files=dot_files):
        return entry
    return replace(entry, kind=EntryKind.DOT_FILE)


def list_named(
    remote: Server, folder: str, names: Sequence[bytes], stop: Stop, *, follow: bool
) -> dict[bytes, Named]:
    """The kinds of some entries of a folder, without those that do not exist or are not reported.

    With `follow`, a symbolic link to a folder is a folder; one that leads to none stays a link.
    The names hold only characters that no shell interprets. rsync(1): a slash at the end of a
    source follows a link, and with `--relative` names begin behind `/./`.

    Raises:
        ListingRefused: rrsync(1) allows one of them not; it looks at where a link leads.
        ListingError: it could not be asked.
        Stopped: a stop was requested meanwhile.
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

    def on_line(line: bytes) -> None:
        named = parse_named(line)
        if named is not None and named.name in wanted:
            found[named.name] = named

    result = run(
        remote,
        command,
        stop,
        on_stdout=on_line,
        on_stderr=lambda line: log.debug("rsync: %s", escaped(line)),
        timeout=remote.timeout,
    )
    if result.stopped:
        raise Stopped("stopped while listing")
    if result.hung_process:
        raise hang_explanation(result).as_error(ListingError)
    if _NOT_ALLOWED in result.stderr:
        raise ListingRefused(f"{folder}: the server allows some paths in it not to be read")
    if result.code not in (0, PARTIAL_TRANSFER):
        raise explain(result.code, result.stderr).as_error(ListingError)
    return found


def run(
    remote: Server, command: Sequence[str], stop: Stop, **options: Any
) -> subprocess_runner.ProcessResult:
    """Run an rsync (`options`: as `subprocess_runner.run`) with a connection of this machine's.

    If the server closes the connection before the login, which is before rsync has any output, it
    is run again; several that are refused at once are not retried at once.

    Raises:
        Stopped: a stop was requested before there was a connection for it.
    """
    for tries in range(1, REFUSED_TRIES + 1):
        with connection_limit.acquire(remote, stop, patient=True):
            result = subprocess_runner.run(command, stop=stop, environment=ENVIRONMENT, **options)
        # rsync ends with ssh's exit code, or with its own if it sees the closed connection first.
        refused = is_lost(result.code) and not stop.requested
        found = cause(result.stderr, result.code) if refused else None
        if tries == REFUSED_TRIES or found is None or found.kind is not ServerBusy:
            break
        wait = REFUSED_BACKOFF.seconds(tries)
        log.info("%s: %s; trying again in %.0f s", remote.host, found.reason, wait)
        if stop.wait(wait):
            break
    return result


def hang_explanation(result: subprocess_runner.ProcessResult) -> Explanation:
    """The message about a process that hung."""
    return Explanation(
        f"{result.hung_process} stood still for {result.waited:.0f} s, and was ended",
        "look at the file system of the project folder (`df`, `dmesg`), and at the processes",
    )


def compare_files(  # noqa: PLR0913, PLR0917 - two trees, the paths, limits
    remote: Server,
    source: str,
    destination: Path,
    paths: Iterable[bytes],
    on_result: Callable[[bytes, bool], None],
    stop: Stop,
    idle_timeout: float,
) -> None:
    """Hand over the path of each file and whether it is the same on both sides, by its checksum.

    Nothing is written. A file that the facility does not have, or does not let be read, is not
    handed over. While rsync makes checksums it sends nothing; after `idle_timeout` seconds of that
    it is ended.

    Raises:
        ListingError: the connection could not be made or broke off, or rsync does not do it.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    command = [
        *start(remote, idle_timeout),
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

    def on_line(line: bytes) -> None:
        if (compared := parse_compared(line)) is not None:
            on_result(*compared)

    result = run(
        remote,
        command,
        stop,
        on_stdout=on_line,
        on_stderr=lambda line: log.debug("rsync: %s", escaped(line)),
        stdin=list_of_paths(paths),
        timeout=remote.timeout,
        wakes=idle_timeout,
    )
    if result.stopped:
        raise Stopped("stopped while rsync compared checksums")
    if result.hung_process:
        raise hang_explanation(result).as_error(ListingError)
    if result.code not in (0, PARTIAL_TRANSFER, FILES_VANISHED):
        explanation = explain(result.code, result.stderr)
        raise explanation.as_error(ListingError if is_lost(result.code) else ListingRefused)


def list_of_paths(paths: Iterable[bytes]) -> bytes:
    """Paths as rsync reads them with `--from0 --files-from=-`.

    rsync 3.2.5 and later forget the beginning of a path that is in more than two of the blocks that
    they read, and then end the run: the file that the server sends was not asked for. So a path
    that would be in three begins a block; rsync skips the NULs before it.
    """
    block_list = bytearray()
    for path in paths:
        if len(block_list) % _PATH_LIST_BLOCK + len(path) >= 2 * _PATH_LIST_BLOCK:
            block_list += bytes(-len(block_list) % _PATH_LIST_BLOCK)
        block_list += path + b"\0"
    return bytes(block_list)


def filters(*, dot_files: bool) -> tuple[str, ...]:
    """The options of an rsync that brings a whole tree, so that it leaves out the same names."""
    if dot_files:
        return (f"--exclude={_OWN_FILES}",)
    return "--include=.info", "--exclude=.*"


def require() -> None:
    """Look for rsync on this machine.

    Raises:
        ToolMissing: it is not installed.
    """
    if shutil.which("rsync") is None:
        raise ToolMissing("rsync is not installed", hint="install the package rsync")


def start(
    remote: Server, timeout: float | None = None, bandwidth: BandwidthTimetable | None = None
) -> list[str]:
    """The command line of every rsync up to what it is to do.

    Raises:
        ToolMissing: ssh or rsync is not installed.
    """
    require()
    shell = remote.ssh_command()
    if bandwidth is not None:
        shell = limited(remote, shell, bandwidth)
    shell = subprocess_runner.bound_to_parent(shell)
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


def address(remote: Server, source: str) -> str:
    """What is in a folder at the facility, as an argument of rsync."""
    return f"{_host(remote)}:{source}/"


def _host(remote: Server) -> str:
    return f"[{remote.host}]" if ":" in remote.host else remote.host


def stderr_logger(stop: Stop) -> Callable[[bytes], None]:
    """Log the messages of rsync and ssh, unless we have ended them ourselves."""

    def log_line(line: bytes) -> None:
        if line.strip():
            is_news = not (stop.requested or is_explained(line))
            log.log(logging.WARNING if is_news else logging.DEBUG, "rsync: %s", escaped(line))

    return log_line
