from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.engines.placement import failed
from asynchy.engines.rsync_results import RefusedPaths, ended_at_a_file, not_written
from asynchy.model.experiment import Entry, EntryKind, Unlisted
from asynchy.model.listing_limits import SHORTEN_IT
from asynchy.model.remote_names import is_inside, target_at_home
from asynchy.ssh.rsync.output import (
    EXIT_CODES,
    Named,
    explain,
    is_absent,
    is_lost,
    parse_listed,
    parse_named,
    parse_progress,
    parse_refused,
    parse_statistic,
    parse_unlisted,
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
    assert parse_listed(line) == Entry(EntryKind.FILE, path, size, int(moment.timestamp()), 0o644)


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
    (b"drwxr-xr-x        4096 2026/11/24 02:40:16 .", EntryKind.FOLDER, b".", 4096, 0o755),
    (b"-rw-r--r--           1 2026/11/24 02:40:16 a -> b", EntryKind.FILE, b"a -> b", 1, 0o644),
    (b"lrwxrwxrwx          11 2026/11/24 02:40:16 out", EntryKind.SYMLINK, b"out", 11, 0o777),
    (b"prw-r--r--           0 2026/11/24 02:40:16 pipe", EntryKind.SPECIAL, b"pipe", 0, 0o644),
    (
        b"-rwsr-sr-t 4294971393000000 2026/11/24 02:40:16  x ",
        EntryKind.FILE,
        b" x ",
        4294971393000000,
        0o7755,
    ),
    (
        b"-rw-r--r--           1 2026/11/24 02:40:16 new\\#012line",
        EntryKind.FILE,
        b"new\nline",
        1,
        0o644,
    ),
    (b"-rw-r--r--           1 2026/11/24 02:40:16 \\#134#123", EntryKind.FILE, b"\\#123", 1, 0o644),
]


@pytest.mark.parametrize(("line", "kind", "path", "size", "mode"), LISTED)
def test_lines_of_a_real_listing(
    line: bytes, kind: EntryKind, path: bytes, size: int, mode: int
) -> None:
    moment = int(datetime(2026, 11, 24, 2, 40, 16, tzinfo=UTC).timestamp())
    assert parse_listed(line) == Entry(kind, path, size, moment, mode)


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


NAMED = b"2026/11/24 02:40:16 "


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"drwxr-xr-x 4,096 " + NAMED + b"1a", None),  # numbers for people are not asked for
        (b"drwxr-xr-x 4096 " + NAMED + b"1a", Named(EntryKind.FOLDER, b"1a", None)),
        (b"-rw-r--r-- 1 " + NAMED + b"1a -> b", Named(EntryKind.FILE, b"1a -> b", None)),
        (b"lrwxrwxrwx 9 " + NAMED + b"1a -> ../b/1a", Named(EntryKind.SYMLINK, b"1a", b"../b/1a")),
        (b"lrwxrwxrwx 9 " + NAMED + b"1a -> a -> b", Named(EntryKind.SYMLINK, b"1a", b"a -> b")),
        (b"lrwxrwxrwx 9 " + NAMED + b"1a -> x\\#012", Named(EntryKind.SYMLINK, b"1a", b"x\n")),
        (b"Welcome to the facility!", None),
    ],
)
def test_a_link_is_listed_with_its_target(line: bytes, named: Named | None) -> None:
    assert parse_named(line) == named


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


CHANGED = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
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
    (255, f"{CHANGED}Host key verification failed.",
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


def test_the_command_that_removes_a_changed_host_key_is_whole() -> None:
    told = (
        f"{CHANGED}it is\nSHA256:{43 * 'a'}.\nAdd correct host key in /my hosts.\n"
        "Offending ED25519 key in /my hosts:1\n"
        "Host key for [h]:2222 has changed and you have requested strict checking.\n"
    )
    assert "`ssh-keygen -R '[h]:2222' -f '/my hosts'`" in (explain(255, told).hint or "")
    unknown = explain(255, f"{CHANGED}Host key verification failed.").hint
    assert "another one now" in (unknown or "")
    assert "`ssh-keygen -R '[HOST]:PORT' -f KNOWN_HOSTS_FILE`" in (unknown or "")


@given(st.integers(-64, 255), st.text())
def test_there_is_always_an_explanation(code: int, stderr: str) -> None:
    assert explain(code, stderr).reason


def test_every_documented_exit_code_has_words() -> None:
    assert {
        1,
        2,
        3,
        4,
        5,
        6,
        10,
        11,
        12,
        13,
        14,
        15,
        16,
        19,
        20,
        21,
        22,
        23,
        24,
        25,
        30,
        35,
    } <= set(EXIT_CODES)


KILLED_THERE = (
    "Killed\nrsync: connection unexpectedly closed (4411666 bytes received so far) [receiver]"
)
"""What comes with 137 where sshd's session is killed: its shell tells of its rsync."""


def test_a_command_that_was_killed_at_the_facility_is_a_lost_connection() -> None:
    assert "signal 9 ended the command at the facility" in explain(137, KILLED_THERE).reason
    assert all(map(is_lost, (137, 143, 10, 12, 16, 30, 35, 255)))
    assert not any(map(is_lost, (-9, 0, 1, 11, 15, 23, 24, 127, 128, 193)))


def test_absence_is_told_from_other_failures() -> None:
    assert is_absent(
        'rsync: [sender] change_dir "/data/mx/1a" failed: No such file or directory (2)'
    )
    assert not is_absent('rsync: [sender] opendir "/data/mx/1a" failed: Permission denied (13)')


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (b"-rw-r--r--", EntryKind.FILE), (b"-rwsr-sr-t", EntryKind.FILE), (b"drwxrws---+", EntryKind.FOLDER),
        (b"drwx--S--T.", EntryKind.FOLDER), (b"lrwxrwxrwx", EntryKind.SYMLINK), (b"srwxr-xr-x", EntryKind.SPECIAL),
        (b"crw-rw-rw-", EntryKind.SPECIAL), (b"brw-rw----", EntryKind.SPECIAL), (b"prw-r--r--", EntryKind.SPECIAL),
    ],
)  # fmt: skip
def test_the_kinds_of_entries(mode: bytes, kind: EntryKind) -> None:
    entry = parse_listed(mode + b"           0 2026/11/24 02:40:16 x")
    assert entry is not None and entry.kind is kind


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        (b".", True), (b"a", True), (b"a/b", True), (b"..a/b..", True), (b".info", True), (b"a/...", True),
        (b"", False), (b"..", False), (b"./a", False), (b"a/..", False), (b"/", False), (b"/a", False),
        (b"a/", False), (b"a//b", False), (b"a\0", False), (b"a/./b", False), (b"./.", False),
    ],
)  # fmt: skip
def test_what_is_inside(path: bytes, inside: bool) -> None:
    assert is_inside(path) == inside


listing_like = st.lists(
    st.sampled_from([b"-", b"d", b"rw-r--r--", b" ", b"12", b"2026/11/24", b"02:40:16", b"99:99:99", b"/", b"..", b".",
                     b"\\#057", b"\\#000", b"\\#056", b"\\#134", b"x", b"\xff", b"\n"]), max_size=14,
).map(b"".join)  # fmt: skip
prefixed = listing_like | listing_like.map(lambda name: b"-rw-r--r-- 1 2026/11/24 02:40:16 " + name)


@given(prefixed)
def test_no_line_like_a_listing_leads_out(line: bytes) -> None:
    try:
        entry = parse_listed(line)
    except ValueError:
        return
    assert entry is None or (is_inside(entry.path) and not entry.path.startswith(b"/"))


@pytest.mark.parametrize(
    ("line", "done"),
    [
        (b"          32768 100%    1.00MB/s    0:00:00 (xfr#1, to-chk=0/2)", (32768, 1)),
        (b"  4294971393   7%  350.00MB/s    0:00:05  ", (4294971393, 0)),
        (b"              0   0%    0.00kB/s    0:00:00  ", (0, 0)),
        (b"Number of files: 15", None),
        (b">f+++++++++ 100 1 50% done", None),
        (b"100%", None),
        (b"", None),
    ],
)
def test_progress(line: bytes, done: tuple[int, int] | None) -> None:
    assert parse_progress(line) == done


@given(st.binary())
def test_any_line_may_come_between(line: bytes) -> None:
    assert parse_progress(line) is None or parse_statistic(line) is None


STATISTICS = b"""\

Number of files: 15 (reg: 8, dir: 4, link: 2, special: 1)
Number of created files: 0
Number of deleted files: 0
Number of regular files transferred: 8
Total file size: 5000000000 bytes
Total transferred file size: 5000000000 bytes
Literal data: 4999999999 bytes
Matched data: 1 bytes
File list size: 123
File list generation time: 0.001 seconds
File list transfer time: 0.000 seconds
Total bytes sent: 100
Total bytes received: 5000001234

sent 100 bytes  received 5000001234 bytes  333333.00 bytes/sec
total size is 5000000000  speedup is 1.00
"""


def test_the_statistics_of_a_run() -> None:
    found = dict(filter(None, map(parse_statistic, STATISTICS.splitlines())))
    assert found["Number of files"] == 15
    assert found["Number of regular files transferred"] == 8
    assert (found["Literal data"], found["Matched data"]) == (4_999_999_999, 1)
    assert found["Total bytes received"] == 5_000_001_234
    assert not any("time" in name for name in found)


HOME = b"/home/p/.asynchy-data/rsync/tree"
REFUSALS = [
    (b'rename "%s/.asynchy-temporary/a.h5.fwiglZ" -> "m/a.h5": Operation not permitted (1)', b"m/a.h5", 1),
    (b'rename "%s/.asynchy-temporary/a.h5.fwiglZ" -> "m/a.h5": No such file or directory (2)', b"m/a.h5", 22),
    (b'mkstemp "%s/.asynchy-temporary/"q".T2O6ht" failed: No such file or directory (2)', b'.asynchy-temporary/"q"', 22),
    (b'mkstemp "%s/.asynchy-temporary/a\\#012b.T2O6ht" failed: Input/output error (5)', b".asynchy-temporary/a\nb", 5),
    (b'recv_generator: mkdir "%s/m" failed: Input/output error (5)', b"m", 5),
    (b'rename "%s/.asynchy-temporary/x.fwiglZ" -> "../x": Operation not permitted (1)', None, 0),
    (b'write failed on "%s/m/a": Input/output error (5)', b"m/a", 5),
    (b'failed to set times on "%s/m": Operation not permitted (1)', None, 0),
]  # fmt: skip


@pytest.mark.parametrize(("line", "path", "number"), REFUSALS)
def test_what_home_does_not_take_is_told_by_its_path(
    line: bytes, path: bytes | None, number: int
) -> None:
    line = b"rsync: [receiver] " + line.replace(b"%s", HOME)
    found = parse_refused(line, HOME)
    assert (found and (found[0], found[1].errno)) == (path and (path, number))


def test_a_file_without_a_temporary_one_is_known_by_its_name_though_that_is_cut() -> None:
    refused = RefusedPaths()
    for name in (b"short", b"x" * 243):
        refused.note(b".asynchy-temporary/" + name, OSError(5, name.decode()))
    refused.note(b"m", OSError(1, "folder"))
    found = [
        refused.error_of(path) for path in (b"a/short", b"x" * 250, b"m/n/a", b"shorter", b"mm")
    ]
    assert [error and error.strerror for error in found] == [
        "short", "x" * 243, "folder", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(("number", "path"), [(5, b"b"), (27, b"a"), (28, None)])
def test_the_file_at_which_an_rsync_ended_is_refused_unless_it_is_about_all(
    number: int, path: bytes | None
) -> None:
    error = OSError(number, os.strerror(number))
    words = f'rsync: [receiver] write failed on "/t/b": {error.strerror} ({number})'
    result = replace(failed("", None, 0, 0, words), exit_code=11)
    refused = RefusedPaths()
    refused.note(b"b", error)
    lacking = [Entry(EntryKind.FILE, name, size, 0, 0o644) for name, size in ((b"a", 9), (b"b", 1))]
    found = not_written(result, lacking, refused)
    assert ended_at_a_file(result)
    assert (found and (found[0].path, found[1].errno)) == (path and (path, number))


MORE_CAUSES = [
    (12, 'rsync: [receiver] write failed on "/x": No space left on device (28)\n'
         "rsync: connection unexpectedly closed (1 bytes received so far) [generator]", "ENOSPC"),
    (23, 'rsync: [generator] recv_generator: mkdir "/x" failed: Permission denied (13)', "at the destination"),
    (23, 'rsync: [receiver] rename "/x/.y" -> "y": Permission denied (13)', "at the destination"),
    (23, 'rsync: [sender] opendir "/d/x" failed: Permission denied (13)', "at the facility"),
    (23, 'rsync: [sender] link_stat "/data/mx/1a/." failed: No such file or directory (2)', "no such folder"),
    (3, 'rsync: [Receiver] change_dir#3 "/home/x" failed: No such file or directory (2)', "could not be selected"),
    (255, "kex_exchange_identification: read: Connection reset by peer", "closed the connection before"),
    (255, "packet.c:sshpkt_vfatal():2009 (bin=ssh, pid=7): Connection closed by 192.0.2.1 port 22", "closed the connection before"),
    (255, "packet.c:sshpkt_vfatal():1920 (pid=7): Connection reset by 192.0.2.1 port 22", "closed the connection before"),
    (255, "Connection closed by 192.0.2.1 port 22", "was lost"),
    (255, "client_loop: send disconnect: Broken pipe", "was lost"),
    (255, "Connection to 192.0.2.1 closed by remote host.", "was lost"),
    (255, "ssh: connect to host h port 22: No route to host", "was lost"),
    (255, "ssh: connect to host h port 22: Operation timed out", "was lost"),
    (255, "me@h: Permission denied (publickey,password,keyboard-interactive).", "refused the SSH key"),
    (255, 'Load key "/k.pub": error in libcrypto\nme@h: Permission denied (publickey).', "is the public key, and no agent"),
    (255, 'Load key "/k": incorrect passphrase supplied to decrypt private key\nme@h: Permission denied (publickey).', "has a passphrase"),
    (255, 'Load key "/k": Permission denied\nme@h: Permission denied (publickey).', "the key file /k cannot be read: Permission denied"),
    (255, 'Load key "/k": Is a directory\r\nme@h: Permission denied (publickey).', "the key file /k cannot be read: Is a directory"),
    (255, 'Load key "/k": error in libcrypto\nme@h: Permission denied (publickey).', "ssh cannot use the key file /k"),
    (255, "ssh: Could not resolve hostname j: Name or service not known\nkex_exchange_identification: Connection closed by remote host\n"
          "packet.c:sshpkt_vfatal():1909 (pid=7): Connection closed by UNKNOWN port 65535", "ProxyCommand) failed: ssh: Could not resolve hostname j"),
    (255, "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n"
          "packet.c:sshpkt_vfatal():1909 (pid=7): Connection closed by UNKNOWN port 65535", "failed: channel 0: open failed"),
    (255, "Host key verification failed.\nkex_exchange_identification: Connection closed by remote host\n"
          "Connection closed by UNKNOWN port 65535", "failed: Host key verification failed."),
    (255, "kex_exchange_identification: Connection closed by remote host\n"
          "packet.c:sshpkt_vfatal():1909 (pid=7): Connection closed by UNKNOWN port 65535", "through ProxyJump or ProxyCommand was closed"),
    (255, "kex_exchange_identification: Connection closed by remote host\n"
          "packet.c:sshpkt_vfatal():1909 (pid=7): Connection closed by UNKNOWN port 65535\nnc: cannot\n", "failed: nc: cannot"),
    (255, "Warning: Identity file /k not accessible: No such file.\nkex_exchange_identification: Connection closed by remote host", "the server closed the connection before"),
    (255, "Connection closed by UNKNOWN port 65535", "was lost"),
    (255, "/h/.ssh/config: line 2: Bad configuration option: no\n/h/.ssh/config: terminating, 1 bad configuration options", "configuration: /h/.ssh/config: line 2: Bad"),
    (255, "/h/.ssh/config line 3: Bad port 'x'.\n/h/.ssh/config: terminating, 1 bad configuration options", "configuration: /h/.ssh/config line 3: Bad port"),
    (255, "Bad owner or permissions on /h/.ssh/config", "configuration: Bad owner"),
    (255, "kex_exchange_identification: banner line contains invalid characters\nbanner exchange: Connection to ::1 port 80: invalid format", "no SSH server answers"),
    (12, "/usr/bin/rrsync error: Restricted directory does not exist!\nrsync: connection unexpectedly closed (0 bytes received so far) [Receiver]",
         "ended at once: /usr/bin/rrsync error: Restricted"),
    (12, "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]", "for this key ended at once"),
    (127, "bash: rsync: command not found", "not offered by the server"),
    (255, "", "ssh could not connect"),
    (20, "rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20)", "stopped by a signal"),
    (-15, "", "signal 15"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "stderr", "word"), MORE_CAUSES)
def test_more_causes_are_named(code: int, stderr: str, word: str) -> None:
    assert word in explain(code, stderr).reason


def test_every_cause_that_can_be_named_comes_with_what_to_do() -> None:
    for code, stderr, _ in CAUSES + MORE_CAUSES:
        found = explain(code, stderr)
        assert (found.hint is None) == ("exit code" in found.reason or "signal" in found.reason)


@pytest.mark.parametrize(
    "stderr",
    [
        "",
        'rsync: [Receiver] change_dir#3 "/home/x" failed: No such file or directory (2)',
        'rsync: [generator] recv_generator: mkdir "/x" failed: No such file or directory (2)',
        "bash: rsync: No such file or directory",
        'rsync: [sender] change_dir "/data/mx/1a" failed: Permission denied (13)',
    ],
)
def test_what_is_missing_here_is_not_absent_there(stderr: str) -> None:
    assert not is_absent(stderr)


@pytest.mark.parametrize(
    ("year", "seconds"),
    [(b"  -2/12/17 14:13:20", -62_200_000_000), (b"2286/11/20 17:46:40", 10**10)],
)
def test_years_before_our_own_and_far_ahead(year: bytes, seconds: int) -> None:
    entry = parse_listed(b"-rw-r--r--              2 " + year + b" odd")
    assert entry is not None and entry.modified == seconds


def test_a_name_that_leads_out_is_said_in_words() -> None:
    found = explain(4, "ABORTING due to unsafe pathname from sender: ../evil")
    assert found.reason == "the server's rsync sent a name that leads out of the experiment"


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        (
            b'rsync: [sender] opendir "/data/mx/1a/a/closed" failed: Permission denied (13)',
            Unlisted(b"a/closed", "it may not be read (EACCES)"),
        ),
        (
            b'rsync: opendir "/data/mx/1a/a\\#012\\"b" failed: Permission denied (13)\n',
            Unlisted(b'a\n\\"b', "it may not be read (EACCES)"),
        ),
        (
            b'rsync: [sender] readdir("/data/mx/1a/bad"): Input/output error (5)',
            Unlisted(b"bad", "rsync reports: Input/output error (5)"),
        ),
        (
            b'rsync: [sender] readlink_stat("/data/mx/1a/d/f") failed: Permission denied (13)',
            Unlisted(b"d", "its entries cannot be read: Permission denied"),
        ),
        (
            b"filename overflows max-path len by 5: d/e/f\n",
            Unlisted(b"d/e", "the path of f in it has more than 4,095 bytes", SHORTEN_IT),
        ),
        (
            b"skipping overly long name: d/f",
            Unlisted(b"d", "the path of f in it has more than 4,095 bytes", SHORTEN_IT),
        ),
        (b"skipping overly long name: ../../f", None),
        (b'rsync: [sender] readlink_stat("/data/mx/1a/f") failed: Permission denied (13)', None),
        (b'rsync: [sender] opendir "/data/mx/1a" failed: Permission denied (13)', None),
        (b'rsync: [sender] opendir "/data/mx/1a/../x" failed: Permission denied (13)', None),
        (b'rsync: [sender] opendir "/data/mx/1ab/c" failed: Permission denied (13)', None),
        (
            b'rsync: [sender] send_files failed to open "/data/mx/1a/f": Permission denied (13)',
            None,
        ),
        (b"rsync error: some files/attrs were not transferred (code 23) at main.c(1956)", None),
    ],
)
def test_a_folder_that_could_not_be_listed_is_named(line: bytes, folder: Unlisted | None) -> None:
    assert parse_unlisted(line, b"/data/mx/1a") == folder


@pytest.mark.parametrize(
    ("path", "target", "at_home"),
    [
        (b"link", b"frames/a.h5", b"frames/a.h5"),
        (b"d/link", b"../frames", b"../frames"),
        (b"d/link", b"./a//b/", b"./a//b/"),
        (b"link", b".", b"."),
        (b"d/link", b"..", b".."),
        (b"link", b"/data/mx/12282a", b"."),
        (b"d/e/link", b"/data/mx/12282a/", b"../.."),
        (b"d/e/link", b"/data/mx/12282a/d/f", b"../f"),
        (b"link", b"../12282a/frames", b"frames"),
        (b"d/link", b"../../12282a", b".."),
        (b"link", b"../../../../../data/mx/12282a/x", b"x"),
        (b"link", b"..", None),
        (b"d/link", b"../..", None),
        (b"link", b"../12282b/frames", None),
        (b"link", b"/data/mx/12282ab", None),
        (b"link", b"/etc/passwd", None),
        (b"link", b"/", None),
        (b"link", b"", None),
        # `d` may be a link to the top; `a` and `a/b` are folders.
        (b"link", b"d/../x", None),
        (b"link", b"/data/mx/12282a/d/../x", None),
        (b"link", b"a/d/../x", None),
        (b"link", b"a/../x", b"a/../x"),
        (b"link", b"a/b/../../x", b"a/b/../../x"),
        (b"link", b"a/../../12282a/./f", b"f"),
        (b"link", b"../12282a/../12282a/f", b"f"),
        (b"link", b"../12282b/../12282a/f", None),
        (b"a/link", b"b/../../../12282a/f", b"../f"),
        (b"link", b"a/../../f", None),
        (b"link", b"/data/mx/12282a/a/../x", b"x"),
    ],
)
def test_a_link_points_to_the_same_place_at_home_or_is_left_out(
    path: bytes, target: bytes, at_home: bytes | None
) -> None:
    folders = {b"a", b"a/b"}
    assert target_at_home(b"/data/mx/12282a", path, target, folders.__contains__) == at_home
