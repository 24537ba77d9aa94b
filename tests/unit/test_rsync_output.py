from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.domain.experiment import Entry, Kind
from asynchy.ssh.rsync_output import (
    EXIT_CODES,
    explain,
    is_absent,
    is_inside,
    parse_listed,
    parse_statistic,
    unescape,
)


def as_rsync_prints(name: bytes) -> bytes:
    """A name as rsync prints it in the C locale, written from its manual, not from our code."""
    printed = b""
    for at, byte in enumerate(name):
        follows = name[at + 1 : at + 5]
        looks_escaped = (
            byte == 0x5C and follows[:1] == b"#" and follows[1:4].isdigit() and len(follows) == 4
        )
        if looks_escaped or not 0x20 <= byte <= 0x7E:
            printed += b"\\#%03o" % byte
        else:
            printed += bytes([byte])
    return printed


segments = st.binary(min_size=1, max_size=40).filter(
    lambda part: part not in (b".", b"..") and not set(part) & set(b"\0/")
)
paths = st.lists(segments, min_size=1, max_size=4).map(b"/".join)
times = st.datetimes(
    min_value=datetime(1901, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)
).map(lambda moment: moment.replace(microsecond=0))


@given(paths, st.integers(0, 2**63), times)
def test_every_name_size_and_time_survives_a_listing(
    path: bytes, size: int, moment: datetime
) -> None:
    when = f"{moment.year:4}/{moment:%m/%d %H:%M:%S}".encode()
    line = b"-rw-r--r-- %14d %s %s" % (
        size,
        when.replace(b" " * (4 - len(str(moment.year))), b""),
        as_rsync_prints(path),
    )
    assert parse_listed(line) == Entry(Kind.FILE, path, size, int(moment.timestamp()))


@given(st.binary())
def test_any_line_is_an_entry_or_a_value_error(line: bytes) -> None:
    try:
        entry = parse_listed(line)
    except ValueError:
        return
    assert entry is None or is_inside(entry.path)


@given(st.binary())
def test_names_come_back(name: bytes) -> None:
    assert unescape(as_rsync_prints(name)) == name


LISTED = [
    (b"drwxr-xr-x        4096 2026/11/24 02:40:16 .", Kind.FOLDER, b".", 4096),
    (b"-rw-r--r--           1 2026/11/24 02:40:16 a -> b", Kind.FILE, b"a -> b", 1),
    (b"lrwxrwxrwx          11 2026/11/24 02:40:16 out", Kind.SYMLINK, b"out", 11),
    (b"prw-r--r--           0 2026/11/24 02:40:16 pipe", Kind.SPECIAL, b"pipe", 0),
    (b"-rwsr-sr-t 4294971393000000 2026/11/24 02:40:16  x ", Kind.FILE, b" x ", 4294971393000000),
    (b"-rw-r--r--           1 2026/11/24 02:40:16 new\\#012line", Kind.FILE, b"new\nline", 1),
    (b"-rw-r--r--           1 2026/11/24 02:40:16 \\#134#123", Kind.FILE, b"\\#123", 1),
]


@pytest.mark.parametrize(("line", "kind", "path", "size"), LISTED)
def test_lines_of_a_real_listing(line: bytes, kind: Kind, path: bytes, size: int) -> None:
    moment = int(datetime(2026, 11, 24, 2, 40, 16, tzinfo=UTC).timestamp())
    assert parse_listed(line) == Entry(kind, path, size, moment)


@pytest.mark.parametrize("year", [1900, 1969, 2446, 9999, 12345, 318857])
def test_far_away_years(year: int) -> None:
    entry = parse_listed(b"-rw-r--r-- 0 %d/03/01 00:00:00 x" % year)
    later = parse_listed(b"-rw-r--r-- 0 %d/03/02 00:00:00 x" % year)
    assert entry is not None and later is not None
    assert later.modified - entry.modified == 86_400


@pytest.mark.parametrize(
    "name",
    [b"/etc/passwd", b"../x", b"a/../b", b"a//b", b"a/", b"", b"a/./b", b"a\\#000b", b".."],
)
def test_a_name_that_leads_elsewhere_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match=r"leads out|not a line"):
        parse_listed(b"-rw-r--r-- 0 2026/11/24 00:00:00 " + name)


@pytest.mark.parametrize(
    "line",
    [
        b"Welcome to the facility!",
        b"-rw-r--r-- x 2026/11/24 02:40:16 a",
        b"-rw-r--r-- 1 2026/13/24 02:40:16 a",
    ],
)
def test_what_is_no_listing_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a (line|date)"):
        parse_listed(line)


def test_lines_that_list_nothing() -> None:
    assert parse_listed(b"") is None
    assert parse_listed(b'skipping non-regular file "x"') is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"Number of files: 15 (reg: 8, dir: 4, link: 2, special: 1)", ("Number of files", 15)),
        (b"Number of regular files transferred: 8", ("Number of regular files transferred", 8)),
        (b"Literal data: 4294971393 bytes", ("Literal data", 4294971393)),
        (b"File list generation time: 0.001 seconds", None),
        (b">f+++++++++ 1 Literal data: 3 bytes", None),
        (b"", None),
    ],
)
def test_statistics(line: bytes, found: tuple[str, int] | None) -> None:
    assert parse_statistic(line) == found


CAUSES = [
    (11, 'rsync: [receiver] write failed on "/x/y": No space left on device (28)', "ENOSPC"),
    (11, 'rsync: [receiver] write failed on "/x/y": Disk quota exceeded (122)', "EDQUOT"),
    (23, 'rsync: [generator] recv_generator: mkdir "/x" failed: Disk quota exceeded (122)', "EDQUOT"),
    (23, 'rsync: [receiver] mkstemp "/x" failed: Read-only file system (30)', "EROFS"),
    (23, 'rsync: [receiver] mkstemp "/x/.y.Ab" failed: Permission denied (13)', "at the destination"),
    (23, 'rsync: [sender] send_files failed to open "/d/x": Permission denied (13)', "at the facility"),
    (23, 'rsync: [sender] change_dir "/nope" failed: No such file or directory (2)\n'
         "rsync: [Receiver] write error: Broken pipe (32)", "no such folder"),
    (255, "No ED25519 host key is known for [h]:22 and you have requested strict checking.\n"
          "Host key verification failed.", "not in known_hosts"),
    (255, "@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@\nHost key verification failed.",
     "not the one in known_hosts"),
    (255, "me@h: Permission denied (publickey).", "refused the SSH key"),
    (255, "ssh: connect to host h port 22: Connection refused", "refused the connection"),
    (255, "ssh: Could not resolve hostname nope: Name or service not known", "cannot be resolved"),
    (255, "ssh: connect to host h port 22: Connection timed out", "was lost"),
    (12, "Timeout, server h not responding.\nrsync: connection unexpectedly closed", "was lost"),
    (2, "protocol version mismatch -- is your shell clean?", "something other than rsync"),
    (30, "rsync error: timeout in data send/receive (code 30)", "too long"),
    (24, "rsync warning: some files vanished", "vanished"),
    (99, "", "not documented"),
    (-9, "", "signal 9"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "stderr", "word"), CAUSES)
def test_the_cause_is_named(code: int, stderr: str, word: str) -> None:
    assert word in explain(code, stderr).reason


@given(st.integers(-64, 255), st.text())
def test_there_is_always_an_explanation(code: int, stderr: str) -> None:
    assert explain(code, stderr).reason


def test_every_documented_exit_code_has_words() -> None:
    assert {1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 19, 20, 21, 22, 23, 24, 25, 30, 35} <= set(
        EXIT_CODES
    )


def test_absence_is_told_from_other_failures() -> None:
    assert is_absent(
        'rsync: [sender] change_dir "/data/mx/1a" failed: No such file or directory (2)'
    )
    assert not is_absent('rsync: [sender] opendir "/data/mx/1a" failed: Permission denied (13)')
