"""Times of files: which are the same, and which of those that SFTP tells are true."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from asynchy.facility.sftp_times import told_time
from asynchy.model import file_times
from asynchy.model.file_times import TIME_UNKNOWN, same_time

NOW = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
LS = b"-rw-r--r--    1 mx       mx              3 %s a 12:30 b"
NAME = b"a 12:30 b"


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    file_times.tolerate(0)
    yield
    file_times.tolerate(0)


@pytest.mark.parametrize(
    ("when", "date", "known"),
    [
        ("2024-05-06", b"May  6  2024", True),
        ("2024-12-31", b"Jan  1  2025", True),  # of another time zone
        ("2026-11-29", b"Nov 29 14:03", True),
        ("2030-01-01", b"Jan  1 00:00", True),  # OpenSSH of what is in the future
        ("1969-12-31", b"Dec 31  1969", False),
        ("1904-01-01", b"Jan  1  1904", False),
        ("1601-01-01", b"Jan  1  1601", False),
        ("2150-06-01", b"Jun  1 00:00", False),
        ("1970-01-01", b"", False),  # OpenSSH of a year without four digits
        ("2024-05-06", b"6 May 2024 7h", True),  # a server with a form of its own
    ],
)
def test_a_time_that_was_cut_to_32_bits_is_not_known(when: str, date: bytes, known: bool) -> None:
    seconds = int(datetime.fromisoformat(f"{when}T12:00Z").timestamp())
    told = seconds % (1 << 32)
    assert told_time(told, NAME, LS % date, NOW) == (told if known else TIME_UNKNOWN)


def test_a_line_that_says_nothing_changes_no_time() -> None:
    for line in (b"", b"x", NAME, b"Dec 31  1969 another name", b"1969 " + NAME[1:]):
        for told in (0, 5, (1 << 32) - 1, 1_700_000_000):
            assert told_time(told, NAME, line, NOW) == told
    assert told_time(5, NAME, LS % b"Nov 29 14:03" + b"x", NOW) == 5
    assert told_time(1_700_000_000, b"x" * 200, b"cut off  1969 x", NOW) == 1_700_000_000


def test_times_differ_unless_they_are_tolerated_or_not_known() -> None:
    assert same_time(10, 10) and same_time(10, TIME_UNKNOWN)
    assert not same_time(10, 11)
    late = datetime(2050, 1, 1, tzinfo=UTC).timestamp()
    assert not same_time((1 << 31) - 1, int(late))
    file_times.tolerate(2)
    assert same_time(10, 12) and same_time(12, 10) and not same_time(10, 13)
    assert same_time((1 << 31) - 1, int(late))
    assert not same_time((1 << 31) - 2, int(late))
