r"""Parses rsync's output: listing lines, statistics, exit codes, error messages. No I/O.

The forms are those of rsync 3.1 and later in the C locale with `--no-human-readable` and TZ=UTC:
`rsync(1)` for the options and exit codes; bytes that do not print appear as `\#ooo` (octal), and
so does a backslash that such a sequence would follow.
"""

from __future__ import annotations

import calendar
import errno
import os
import re
from dataclasses import dataclass

from asynchy.errors import MAY_NOT_BE_READ
from asynchy.model.experiment import Entry, EntryKind, Unlisted
from asynchy.model.formatting import escaped
from asynchy.model.listing_limits import MAX_PATH_BYTES, SHORTEN_IT
from asynchy.model.remote_names import is_inside
from asynchy.ssh.error_causes import ABSENT, Explanation, cause

_LISTED = re.compile(
    rb"(?P<kind>[-dlpscbD])(?P<mode>[r-][w-][xsS-][r-][w-][xsS-][r-][w-][xtT-])\S? +"
    rb"(?P<size>\d{1,19}) +(?P<year>-?\d{1,9})/(?P<month>\d\d)/(?P<day>\d\d) "
    rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d) (?P<name>.*)",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\#([0-3][0-7]{2})")
_STATISTIC = re.compile(rb"(?P<name>[A-Z][a-z ]+): (?P<value>\d{1,19})(?: bytes)?(?: \(.*\))?")
_PROGRESS = re.compile(rb" *(?P<bytes>\d{1,19}) +\d+% .*?(?:\(xfr#(?P<files>\d{1,19}), .*)?")
_COMPARED = re.compile(rb"(?P<update>[.<>ch])f(?P<what>.{9}) (?P<name>.+)", re.DOTALL)
_UNLISTED = re.compile(
    rb'rsync: (?:\[sender\] )?(?P<what>opendir|readdir|readlink_stat)[ (]"(?P<path>.*)"\)?'
    rb"(?: failed)?: (?P<error>.*) \((?P<number>\d+)\)\s*",
    re.DOTALL,
)
_TOO_LONG = re.compile(
    rb"(?:filename overflows max-path len by \d+|skipping overly long name): (?P<path>.*?)\s*",
    re.DOTALL,
)
"""rsync's flist.c, of a file whose path in the experiment is longer than Linux allows."""
_REFUSED = re.compile(
    rb"rsync: (?:\[\w+\] )?(?:symlink|mknod|(?:recv_generator: )?(?:mkdir|failed to stat)) "
    rb'"(?P<path>.*?)"(?: -> "(?P<target>.*)")?(?: failed)?: '
    rb'(?P<error>[^"]*) \((?P<number>\d{1,9})\)\s*',
    re.DOTALL,
)
"""rsync's generator.c, of a link, special file or folder that could not be made at home."""
_UNPLACED = re.compile(
    rb"rsync: (?:\[\w+\] )?"
    rb'(?:mkstemp "(?P<temporary>.*)\.\w{6}" failed|(?:rename|copy) ".*" -> "(?P<path>.*)"'
    rb'|write failed on "(?P<written>.*)")'
    rb': (?P<error>[^"]*) \((?P<number>\d{1,9})\)\s*',
    re.DOTALL,
)
"""rsync's receiver.c and rsync.c, of a file that was fetched and could not be put in its place."""
_TIME_OR_MODE = re.compile(rb"rsync: (?:\[\w+\] )?failed to set (?:times|permissions) on ")
"""rsync's rsync.c, of a file that it put in its place all the same."""
_KINDS = {b"-": EntryKind.FILE, b"d": EntryKind.FOLDER, b"l": EntryKind.SYMLINK}

MUNGED = b"/rsyncd-munged/"
"""In front of the target of a link that rsync has made unusable."""

EXIT_CODES = {
    1: "syntax or usage error",
    2: "the other side's rsync is not compatible",
    3: "files or folders could not be selected",
    4: "the other side's rsync cannot do what was asked",
    5: "the connection could not be started",
    6: "the log could not be written",
    10: "the connection failed",
    11: "reading or writing a file failed",
    12: "the connection broke off",
    13: "rsync's own diagnostics failed",
    14: "rsync's own processes lost each other",
    15: "one of rsync's own processes, or ssh, crashed",
    16: "one of rsync's own processes, or ssh, was killed",
    19: "rsync was stopped by a signal",
    20: "rsync was stopped by a signal",
    21: "waitpid failed",
    22: "out of memory",
    23: "some files could not be transferred",
    24: "some files vanished at the facility meanwhile",
    25: "the limit of deletions was reached",
    30: "no data came for too long",
    35: "the connection took too long",
    124: "the remote command failed",
    125: "the remote command was killed",
    126: "the remote command could not be run",
    127: "rsync is not offered by the server, or ssh is not installed",
    255: "ssh could not connect, or the connection was lost",
}
"""rsync(1), EXIT VALUES, as asynchy reports them; 255 is ssh's own."""

_LOST = frozenset({10, 12, 16, 30, 35, 255})
"""rsync(1), and 255 of ssh(1): the connection could not be made, or broke off."""
_EXPLAINED = re.compile(
    rb"rsync error: |rsync: connection unexpectedly closed|\S*rrsync error: "
    rb"|rsync: (?:\[\w+\] )?write error: Broken pipe"
    rb"|protocol version mismatch|\(see the rsync manpage"
)
_PROTOCOL = 12
_NOTHING_CAME = "connection unexpectedly closed (0 bytes received so far)"
_SIGNALS = range(129, 193)
"""128 and the number of the signal that ended a command: the exit code of a remote shell."""
FILES_VANISHED = 24
"""rsync(1): the only thing wrong is that source files vanished."""

_HOLES = (
    ((3, 2, 5), "CVE-2022-29154"),
    ((3, 4, 0), "CVE-2024-12084 to 12088, CVE-2024-12747"),
    ((3, 4, 3), "CVE-2026-43618, CVE-2026-43620"),
    ((3, 5, 0), "CVE-2026-53785, CVE-2026-53795, CVE-2026-53796, CVE-2026-70458, CVE-2026-70462"),
)
"""The version that fixed them, and the risk for a client that fetches: rsync's NEWS. A server, or
who may write at home, could have it read or write elsewhere, crash, or wait for ever."""


def parse_listed(line: bytes) -> Entry | None:
    """One line of `rsync --list-only`; None for a line that lists nothing.

    Raises:
        ValueError: the line is not of the form that is known.
    """
    if not line or line.startswith(b"skipping "):
        return None
    match = _LISTED.fullmatch(line)
    if match is None:
        raise ValueError(f"not a line of an rsync listing: {escaped(line, limit=200)}")
    name = unescape(match["name"])
    if not is_inside(name):
        raise ValueError(f"a name that leads out of the experiment: {escaped(name, limit=200)}")
    parts = [int(match[part]) for part in ("year", "month", "day", "hour", "minute", "second")]
    return Entry(
        kind=_KINDS.get(match["kind"], EntryKind.SPECIAL),
        path=name,
        size=int(match["size"]),
        modified=_seconds(parts),
        mode=_mode(match["mode"]),
    )


def parse_unlisted(line: bytes, source: bytes) -> Unlisted | None:
    """The folder below `source` that rsync could not list; None: the line is about something else.

    It is the folder of a file that cannot be looked at, too, or has too long a path: there may be
    others.
    """
    if (overlong := _TOO_LONG.fullmatch(line)) is not None:
        return _with_too_long(unescape(overlong["path"]))
    match = _UNLISTED.fullmatch(line)
    if match is None:
        return None
    path = unescape(match["path"])
    if match["what"] == b"readlink_stat":
        path = path.rpartition(b"/")[0]
    inside = path.removeprefix(source + b"/")
    if inside == path or not is_inside(inside):
        return None
    if match["what"] == b"readlink_stat":
        reason = f"its entries cannot be read: {escaped(match['error'], limit=200)}"
    elif int(match["number"]) == errno.EACCES:
        reason = MAY_NOT_BE_READ
    else:
        reason = f"rsync reports: {escaped(match['error'], limit=200)} ({int(match['number'])})"
    return Unlisted(inside, reason)


def _with_too_long(path: bytes) -> Unlisted | None:
    """The folder of a file whose path is too long; None: it is in no folder of the experiment."""
    folder, _, name = path.rpartition(b"/")
    if not folder or not is_inside(folder):
        return None
    reason = f"the path of {escaped(name, limit=200)} in it has more than {MAX_PATH_BYTES:,} bytes"
    return Unlisted(folder, reason, SHORTEN_IT)


def parse_refused(line: bytes, folder: bytes) -> tuple[bytes, OSError] | None:
    """The path that rsync could not create in `folder` at home, and why; None: another line.

    Of a file for which no temporary one could be made, rsync reports only the temporary one's name:
    in its folder for those, without its suffix, and cut if it is long.
    """
    if (unplaced := _UNPLACED.fullmatch(line)) is not None:
        return _not_placed(unplaced, folder)
    match = _REFUSED.fullmatch(line)
    if match is None:
        return None
    path = unescape(match["path"])
    inside = path.removeprefix(folder + b"/")
    if inside == path or not is_inside(inside):
        return None
    number, message = int(match["number"]), escaped(match["error"], limit=200)
    if number == errno.ENAMETOOLONG and len(unescape(match["target"] or b"")) > MAX_PATH_BYTES:
        max_target_bytes = MAX_PATH_BYTES - len(MUNGED)
        message = f"rsync cannot fetch a link whose target has more than {max_target_bytes:,} bytes"
    return inside, OSError(number, message)


def _not_placed(match: re.Match[bytes], folder: bytes) -> tuple[bytes, OSError] | None:
    reported = match["path"] or match["temporary"] or match["written"]
    inside = unescape(reported).removeprefix(folder + b"/")
    if not is_inside(inside):
        return None
    number, message = int(match["number"]), escaped(match["error"], limit=200)
    if number == errno.ENOENT:  # its folder is there, so it is the name (exfat-fuse)
        number, message = errno.EINVAL, os.strerror(errno.EINVAL)
    return inside, OSError(number, message)


def is_about_time_or_mode(line: bytes) -> bool:
    """Whether rsync could not give a file its time or mode; the file is there."""
    return _TIME_OR_MODE.match(line) is not None


@dataclass(frozen=True)
class Named:
    """The kind of entry at a path that was asked for by name."""

    kind: EntryKind
    name: bytes
    target: bytes | None
    """Where it points to, if it is a symbolic link."""


def parse_named(line: bytes) -> Named | None:
    """One line of `rsync --list-only --links`; None for any other line.

    A name with ` -> ` in it is cut there: rsync does not distinguish the two.
    """
    match = _LISTED.fullmatch(line)
    if match is None:
        return None
    kind = _KINDS.get(match["kind"], EntryKind.SPECIAL)
    if kind is not EntryKind.SYMLINK:
        return Named(kind, unescape(match["name"]), None)
    name, _, target = match["name"].partition(b" -> ")
    return Named(kind, unescape(name), unescape(target))


def is_absent(stderr: str) -> bool:
    """Whether rsync reports that the folder to be read does not exist, or is not a folder."""
    return ABSENT.search(stderr) is not None


def unescape(name: bytes) -> bytes:
    """A name as rsync prints it, back to the bytes that it has."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), name)


def _mode(letters: bytes) -> int:
    """Permission bits from letters such as `rwsr-x--T`."""
    bits = 0
    for at, letter in enumerate(letters):
        if letter in b"rwxst":
            bits |= 0o400 >> at
        if letter in b"sStT":
            bits |= 0o4000 >> at // 3
    return bits


def _seconds(parts: list[int]) -> int:
    year = parts[0]
    # The Gregorian calendar repeats every 400 years, so any year that rsync prints will do.
    cycles = (year - 2000) // 400
    try:
        return calendar.timegm((year - 400 * cycles, *parts[1:])) + cycles * 146_097 * 86_400
    except ValueError:
        raise ValueError(f"not a date in an rsync listing: {parts}") from None


def parse_compared(line: bytes) -> tuple[bytes, bool] | None:
    """The path in a line of `--itemize-changes`, and whether its content is the same.

    None for a line about anything but a file. rsync(1): a dot in front means that no content would
    be updated, `c` and `s` behind it that the checksum or the size differ.
    """
    match = _COMPARED.fullmatch(line)
    if match is None:
        return None
    same = match["update"] == b"." and not set(match["what"][:2]) & set(b"cs+?")
    return unescape(match["name"]), same


def parse_statistic(line: bytes) -> tuple[str, int] | None:
    """One line of `--stats`, such as `("Literal data", 1024)`; None for any other line."""
    match = _STATISTIC.fullmatch(line)
    if match is None:
        return None
    return match["name"].decode("ascii"), int(match["value"])


def parse_progress(line: bytes) -> tuple[int, int] | None:
    """The bytes and files in a line of `--info=progress2`; None for any other line.

    rsync reports the number of files whenever one is complete; a line without it counts as 0.
    """
    match = _PROGRESS.fullmatch(line)
    return None if match is None else (int(match["bytes"]), int(match["files"] or 0))


def known_holes(version: str) -> str | None:
    """The known vulnerabilities of an rsync that fetches, by the first line of its `--version`.

    None if there are none, or the line has no version. A distribution may have repaired it and kept
    the version.
    """
    match = re.search(r"version (\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", version)
    if match is None:
        return None
    own_version = tuple(int(part or 0) for part in match.groups())
    return ", ".join(holes for fixed_in, holes in _HOLES if own_version < fixed_in) or None


def is_explained(line: bytes) -> bool:
    """Whether a line adds nothing to the result of `explain` for the whole run."""
    return _EXPLAINED.match(line) is not None


def is_complaint(line: bytes) -> bool:
    """Whether a line of rsync's stderr reports a problem with one file or folder."""
    return line.startswith(b"rsync: ") and b"connection unexpectedly closed" not in line


def ended_at_once(code: int, stderr: str) -> bool:
    """Whether the command at the facility ended before it sent anything to rsync."""
    return code == _PROTOCOL and _NOTHING_CAME in stderr


def is_lost(code: int) -> bool:
    """Whether a try again can help, by the exit code of ssh or rsync.

    The connection could not be made, broke off, or lost the command at its other end.
    """
    return code in _LOST or code in _SIGNALS


def explain(code: int, stderr: str) -> Explanation:
    """Why rsync, or ssh, ended with this code: the cause on stderr, or the code's meaning."""
    if (found := cause(stderr, code)) is not None:
        return found
    if ended_at_once(code, stderr):
        message = next((line for line in stderr.splitlines() if not line.startswith("rsync")), "")
        reason = "the command that the server runs for this key ended at once"
        return Explanation(
            f"{reason}: {escaped(message, limit=200)}" if message else reason,
            "its forced command (such as rrsync) or the login shell there ends it: "
            "`ssh USER@HOST rsync --version` may show more; ask the facility",
        )
    if code in _SIGNALS:
        reason = f"signal {code - 128} ended the command at the facility"
        return Explanation(f"{reason} (exit code {code})", None)
    if code < 0:
        return Explanation(f"rsync was ended by signal {-code}", None)
    meaning = EXIT_CODES.get(code, "an exit code that is not documented")
    return Explanation(f"{meaning} (rsync exit code {code})", None)
