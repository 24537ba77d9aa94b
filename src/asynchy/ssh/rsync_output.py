r"""What rsync says, understood: listing lines, statistics, exit codes, error texts. No I/O.

The forms are those of rsync 3.1 and later in the C locale with `--no-human-readable` and TZ=UTC:
`rsync(1)` for the options and exit codes; bytes that do not print appear as `\#ooo` (octal), and
so does a backslash that such a sequence would follow.
"""

from __future__ import annotations

import calendar
import re
import shlex
from dataclasses import dataclass

from asynchy.domain.experiment import Entry, Kind
from asynchy.domain.paths import is_inside
from asynchy.domain.text import shown
from asynchy.errors import HostKeyRefused, ListingError

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
_KINDS = {b"-": Kind.FILE, b"d": Kind.FOLDER, b"l": Kind.SYMLINK}

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
    255: "ssh could not connect",
}
"""rsync(1), EXIT VALUES, in our words; 255 is ssh's own."""

_ABSENT = re.compile(
    r"(change_dir|link_stat) .* failed: (No such file or directory \(2\)"
    r"|Not a directory \(20\)|Too many levels of symbolic links \(40\))"
)
_LOST = frozenset({10, 12, 16, 30, 35, 255})
"""rsync(1), and 255 of ssh(1): the connection could not be made, or broke off."""
_SIGNALS = range(129, 193)
"""128 and the number of the signal that ended a command: what a shell at the other end answers."""
VANISHED = 24
"""rsync(1): the only thing wrong is that source files vanished."""

_HOLES = (
    ((3, 2, 5), "CVE-2022-29154"),
    ((3, 4, 0), "CVE-2024-12084 to 12088, CVE-2024-12747"),
    ((3, 4, 3), "CVE-2026-43618, CVE-2026-43620"),
    ((3, 5, 0), "CVE-2026-53785, CVE-2026-53795, CVE-2026-53796, CVE-2026-70458, CVE-2026-70462"),
)
"""The version that mended them, and what concerns a client that fetches: rsync's NEWS. A server, or
who may write at home, could have it read or write elsewhere, crash, or wait for ever."""

_HOST_KEYS: tuple[tuple[str, str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED(?:[^\0]*?(?P<seen>SHA256:[A-Za-z0-9+/]{43}))?"
        r"(?:[^\0]*?Offending \S+ key in (?P<file>[^\r\n]+):\d+)?"
        r"(?:[^\0]*?Host key for (?P<host>\S+) has changed)?",
        "the server's host key is not the one in known_hosts",
        "somebody may be in between: ask the facility, by phone or on its web site, whether its "
        "key is {seen} now; only then remove the old one (`ssh-keygen -R {host} -f {file}`) and "
        "add the new one",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "the server's host key is not in known_hosts",
        "none is accepted unseen: `ssh-keyscan -p PORT HOST > new` fetches it, `ssh-keygen -lf "
        "new` tells its fingerprint; where the facility names the same, by phone or on its web "
        "site, add it to the file that `known-hosts` names (or ~/.ssh/known_hosts)",
    ),
)
"""What ssh says of a server that is not known to be the facility's: pattern, reason, hint."""
_UNKNOWN = {"seen": "another one", "host": "'[HOST]:PORT'", "file": "KNOWN_HOSTS_FILE"}
"""What stands in a hint where ssh does not say it."""

_CAUSES = (
    (
        r"Load key .*(incorrect passphrase|passphrase)|read_passphrase",
        "the SSH key has a passphrase",
        "load it into ssh-agent, or use a key without one for unattended work",
    ),
    (
        r"Permission denied \(.*(publickey|password|keyboard)",
        "the server refused the SSH key",
        "check `user` and `key-file`, and that the facility knows the public key",
    ),
    (
        r"Could not resolve hostname",
        "the server's name cannot be resolved",
        "check `host`, and this machine's DNS",
    ),
    (r"Connection refused", "the server refused the connection", "check `host` and `port`"),
    (
        r"Disk quota exceeded \(122\)",
        "the quota at the destination is used up (EDQUOT)",
        "free space or raise the quota of the project; it is tried again in the next run",
    ),
    (
        r"No space left on device \(28\)",
        "the destination is full (ENOSPC)",
        "free space or inodes; it is tried again in the next run",
    ),
    (
        r"Read-only file system \(30\)",
        "the destination is mounted read-only (EROFS)",
        "have it mounted for writing; it is tried again in the next run",
    ),
    (
        _ABSENT.pattern,
        "there is no such folder at the facility",
        "check `source-path` and `beamline`; the data may be gone or not there yet",
    ),
    (
        r"\[(Receiver|generator|receiver)\] .*Permission denied \(13\)"
        r"|(mkstemp|mkdir|recv_generator|rename).*Permission denied \(13\)",
        "no permission to write at the destination (EACCES)",
        "make the project folder writable for the user that runs asynchy",
    ),
    (
        r"Permission denied \(13\)",
        "some of it may not be read at the facility (EACCES)",
        "ask the facility to open it to the user",
    ),
    (
        r"Connection (to \S+ )?(timed out|closed|reset)|No route to host|Network is unreachable"
        r"|client_loop: |Timeout, server .* not responding|Operation timed out",
        "the connection to the server was lost",
        "it is tried again in the next run",
    ),
    (
        r"unsafe pathname from sender|rejecting (unrequested|excluded) file-list name",
        "the server's rsync sent a name that leads out of the experiment",
        "it is broken, or somebody's who means harm: tell the facility",
    ),
    (
        r"protocol version mismatch|is your shell clean",
        "something other than rsync answered",
        "check with `ssh USER@HOST rsync --version` what the server offers",
    ),
)


@dataclass(frozen=True)
class Explanation:
    """Why rsync failed, and what to do about it."""

    reason: str
    hint: str | None
    distrust: bool = False
    """Whether it may be another server: nothing is tried again until a person has looked."""

    def as_error(self, kind: type[ListingError]) -> ListingError:
        """An error of this kind, where no other server may be behind it."""
        return (HostKeyRefused if self.distrust else kind)(self.reason, hint=self.hint)


def parse_listed(line: bytes) -> Entry | None:
    """One line of `rsync --list-only`; None for a line that lists nothing.

    Raises:
        ValueError: the line is not of the form that is known.
    """
    if not line or line.startswith(b"skipping "):
        return None
    match = _LISTED.fullmatch(line)
    if match is None:
        raise ValueError(f"not a line of an rsync listing: {shown(line, limit=200)}")
    name = unescape(match["name"])
    if not is_inside(name):
        raise ValueError(f"a name that leads out of the experiment: {shown(name, limit=200)}")
    parts = [int(match[part]) for part in ("year", "month", "day", "hour", "minute", "second")]
    return Entry(
        kind=_KINDS.get(match["kind"], Kind.SPECIAL),
        path=name,
        size=int(match["size"]),
        modified=_seconds(parts),
        mode=_mode(match["mode"]),
    )


@dataclass(frozen=True)
class Named:
    """What a path at the facility is that was asked for by its name."""

    kind: Kind
    name: bytes
    target: bytes | None
    """Where it points to, if it is a symbolic link."""


def parse_named(line: bytes) -> Named | None:
    """One line of `rsync --list-only --links`; None for any other line.

    A name with ` -> ` in it is cut there: rsync does not tell the two apart.
    """
    match = _LISTED.fullmatch(line)
    if match is None:
        return None
    kind = _KINDS.get(match["kind"], Kind.SPECIAL)
    if kind is not Kind.SYMLINK:
        return Named(kind, unescape(match["name"]), None)
    name, _, target = match["name"].partition(b" -> ")
    return Named(kind, unescape(name), unescape(target))


def is_absent(stderr: str) -> bool:
    """Whether rsync says that the folder to be read is not there, or that it is no folder."""
    return _ABSENT.search(stderr) is not None


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

    None for a line about anything but a file. rsync(1): a dot in front says that no content would
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

    rsync tells the files whenever one is whole, so that a line without them says 0.
    """
    match = _PROGRESS.fullmatch(line)
    return None if match is None else (int(match["bytes"]), int(match["files"] or 0))


def cause(words: str) -> Explanation | None:
    """The cause that rsync, ssh or the system name in these words; None where it is none we know.

    An error of the system is told as rsync tells it: `No space left on device (28)`.
    """
    for distrust, causes in ((True, _HOST_KEYS), (False, _CAUSES)):
        for pattern, reason, hint in causes:
            if (match := re.search(pattern, words)) is not None:
                told = {name: word for name, word in match.groupdict().items() if word}
                for name, unknown in _UNKNOWN.items():
                    word = shlex.quote(shown(told[name])) if name in told else unknown
                    hint = hint.replace(f"{{{name}}}", word)  # noqa: PLW2901 - filled in
                return Explanation(reason, hint, distrust)
    return None


def known_holes(version: str) -> str | None:
    """What is known to be wrong with an rsync that fetches, by the first line of its `--version`.

    None where nothing is, or where no version is told. A distribution may have mended it and kept
    the version.
    """
    match = re.search(r"version (\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", version)
    if match is None:
        return None
    mine = tuple(int(part or 0) for part in match.groups())
    return ", ".join(holes for mended, holes in _HOLES if mine < mended) or None


def is_lost(code: int) -> bool:
    """Whether a try again can help, by the exit code of ssh or rsync.

    The connection could not be made, broke off, or lost the command at its other end.
    """
    return code in _LOST or code in _SIGNALS


def explain(code: int, stderr: str) -> Explanation:
    """Why rsync, or ssh, ended with such a code: the cause that its words name, else the code's."""
    if (found := cause(stderr)) is not None:
        return found
    if code in _SIGNALS:
        what = f"signal {code - 128} ended the command at the facility"
        return Explanation(f"{what} (exit code {code})", None)
    if code < 0:
        return Explanation(f"rsync was ended by signal {-code}", None)
    meaning = EXIT_CODES.get(code, "an exit code that is not documented")
    return Explanation(f"{meaning} (rsync exit code {code})", None)
