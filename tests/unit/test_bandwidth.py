"""The bandwidth limit: its timetable, and how connections share it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from asynchy.config import load
from asynchy.errors import ConfigError
from asynchy.model.bandwidth import (
    BandwidthSpan,
    BandwidthTimetable,
    constant,
    parse_days,
    parse_hours,
)
from asynchy.ssh import bandwidth_limit
from asynchy.ssh.bandwidth_limit import BandwidthLimit

OFFICE = BandwidthTimetable(
    (BandwidthSpan(50_000_000, parse_days("mon-fri"), *parse_hours("08:00-18:00")),)
)
MELBOURNE = ZoneInfo("Australia/Melbourne")


def limit_at(timetable: BandwidthTimetable, when: str) -> int | None:
    """2026-11-30 is a Monday."""
    return timetable.limit_at(datetime.fromisoformat(when).timetuple())


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("sat,sun", {5, 6}),
        ("Sat - Mon", {5, 6, 0}),
        ("wed", {2}),
        ("mon,wed-thu", {0, 2, 3}),
        ("mon-sun", set(range(7))),
    ],
)
def test_days_in_words_are_numbers(text: str, days: set[int]) -> None:
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "monday", "mon-", "-fri", "mon-fri-sat", "1-5", "mon;tue"])
def test_days_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_days(text)


@pytest.mark.parametrize(
    "text", ["", "8-18", "08:00", "08:00-08:00", "24:00-08:00", "08:60-09:00", "08:00-24:01"]
)
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_hours(text)


@pytest.mark.parametrize(
    ("when", "limit"),
    [
        ("2026-11-30T07:59:59", None),
        ("2026-11-30T08:00:00", 50_000_000),
        ("2026-11-30T17:59:59", 50_000_000),
        ("2026-11-30T18:00:00", None),
        ("2026-12-05T12:00:00", None),  # a Saturday
    ],
)
def test_a_limit_holds_on_its_days_at_its_hours(when: str, limit: int | None) -> None:
    assert limit_at(OFFICE, when) == limit


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("2026-12-04T21:59:00", False),
        ("2026-12-04T22:00:00", True),  # a Friday
        ("2026-12-05T05:59:00", True),
        ("2026-12-05T06:00:00", False),
        ("2026-12-04T05:00:00", False),  # of Thursday's night
        ("2026-12-05T23:00:00", False),  # of Saturday's night
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins(when: str, holds: bool) -> None:
    night = BandwidthTimetable(
        (BandwidthSpan(1000, parse_days("fri"), *parse_hours("22:00-06:00")),)
    )
    assert (limit_at(night, when) == 1000) is holds


def test_a_span_until_midnight_ends_there() -> None:
    evening = BandwidthSpan(1000, parse_days("fri"), *parse_hours("22:00-24:00"))
    assert limit_at(BandwidthTimetable((evening,)), "2026-12-04T23:59:59") == 1000
    assert limit_at(BandwidthTimetable((evening,)), "2026-12-05T00:00:00") is None


def test_of_overlapping_spans_the_smallest_limit_holds() -> None:
    both = BandwidthTimetable((BandwidthSpan(200_000_000), *OFFICE.spans))
    assert limit_at(both, "2026-11-30T12:00:00") == 50_000_000
    assert limit_at(both, "2026-11-30T20:00:00") == 200_000_000


@pytest.mark.parametrize(
    ("first", "minutes"),
    [
        # Clocks go from 03:00 back to 02:00: the hour from 02:00 comes twice.
        (datetime(2026, 4, 4, 14, 0, tzinfo=UTC), 3 * 60),
        # Clocks go from 02:00 forward to 03:00: the hour from 02:00 does not come.
        (datetime(2026, 10, 3, 15, 0, tzinfo=UTC), 60),
    ],
)
def test_a_change_of_summer_time_keeps_the_hours_on_the_wall(first: datetime, minutes: int) -> None:
    early = BandwidthTimetable(
        (BandwidthSpan(1000, parse_days("sun"), *parse_hours("01:00-03:00")),)
    )
    moments = [first + timedelta(minutes=minute) for minute in range(5 * 60)]
    local = [moment.astimezone(MELBOURNE) for moment in moments]
    limited = [at for at in local if early.limit_at(at.timetuple()) == 1000]
    assert len(limited) == minutes
    assert {at.hour for at in limited} <= {1, 2}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClock]:
    fake = FakeClock()
    monkeypatch.setattr(bandwidth_limit, "time", fake)
    yield fake


class FakeClock:
    """A monotonic clock, and the one on the wall, that go on only when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.local = datetime(2026, 11, 30, 7, 0)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def localtime(self, _seconds: float) -> time.struct_time:
        return self.local.timetuple()


def received(
    clock: FakeClock, sizes: list[int], limits: list[BandwidthLimit], seconds: float
) -> list[int]:
    """The bytes that each connection receives in that time; each asks for its size at a time."""
    end = clock.now + seconds
    got = [0] * len(sizes)
    ready = [(clock.now, at) for at in range(len(sizes))]
    while True:
        clock.now, at = min(ready)
        if clock.now > end:
            return got
        ready.remove((clock.now, at))
        waits = limits[at].wait_for(sizes[at])
        if clock.now + waits <= end:
            got[at] += sizes[at]
        ready.append((clock.now + waits + 1e-6, at))


def test_two_connections_share_one_limit(tmp_path: Path, clock: FakeClock) -> None:
    limits = [BandwidthLimit(tmp_path / "pace", constant(1_000_000)) for _ in range(2)]
    one, two = received(clock, [100_000, 100_000], limits, 10)
    assert one + two == pytest.approx(10_000_000, rel=0.05)
    assert one == pytest.approx(two, rel=0.05)


def test_small_files_beside_large_ones_have_their_share(tmp_path: Path, clock: FakeClock) -> None:
    limits = [BandwidthLimit(tmp_path / "pace", constant(3_000_000)) for _ in range(6)]
    small, *large = received(clock, [1500, *[255 << 10] * 5], limits, 60)
    assert small + sum(large) == pytest.approx(3_000_000 * 60, rel=0.05)
    assert small == pytest.approx(3_000_000 * 60 / 6, rel=0.1)


def test_the_clock_is_heard_between_two_requests(tmp_path: Path, clock: FakeClock) -> None:
    limit = BandwidthLimit(tmp_path / "pace", OFFICE)
    assert limit.max_bytes is None
    assert [limit.wait_for(10_000_000) for _ in range(10)] == [0.0] * 10
    clock.local = clock.local.replace(hour=8)
    assert limit.max_bytes == 255 << 10
    waits = [limit.wait_for(5_000_000) for _ in range(11)]
    assert waits[-1] == pytest.approx(0.9)  # ten at 0.1 s each, less the burst
    clock.local = clock.local.replace(hour=18)
    assert limit.wait_for(5_000_000) == 0.0


def test_a_slow_limit_asks_for_little_at_a_time(tmp_path: Path, clock: FakeClock) -> None:
    assert BandwidthLimit(tmp_path / "pace", constant(10_000)).max_bytes == 4096
    assert BandwidthLimit(tmp_path / "pace", constant(1_000_000)).max_bytes == 100_000


CONFIG = """\
beamline: mx
ignore: ignore.yml
destination-root-path: /projects
equipment: [{id: 23, username: me, password: p, client_name: us, client_password: p}]
bandwidth-limit: """


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yml"
    path.write_text(CONFIG + text)
    path.chmod(0o600)
    return path


def test_a_timetable_in_the_config_is_a_list_or_one_entry(tmp_path: Path) -> None:
    entry = "{days: mon-fri, hours: 08:00-18:00, limit: 50MB}"
    assert load(written(tmp_path, entry)).settings.bandwidth_timetable == OFFICE
    both = load(written(tmp_path, f"[{entry}, {{limit: 200 MB}}]")).settings.bandwidth_timetable
    assert both == BandwidthTimetable((*OFFICE.spans, BandwidthSpan(200_000_000)))
    days = load(written(tmp_path, "{days: [sat, sun], limit: 1 GB}")).settings.bandwidth_timetable
    assert days == BandwidthTimetable((BandwidthSpan(10**9, frozenset({5, 6})),))


def test_a_limit_alone_holds_at_any_time(tmp_path: Path) -> None:
    assert load(written(tmp_path, "80 MB")).settings.bandwidth_timetable == constant(80_000_000)
    assert load(written(tmp_path, "")).settings.bandwidth_timetable is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "fast",
            "bandwidth-limit: found 'fast'; accepted is bytes a second, at least 10 kB, such as",
        ),
        ("{limit: fast}", "bandwidth-limit[0].limit: found 'fast'; accepted is bytes a second"),
        (
            "[{limit: 1 MB, hours: 8-18}]",
            "bandwidth-limit[0].hours: found '8-18'; accepted is a span of the day, such as "
            "08:00-18:00 or 22:00-06:00",
        ),
        (
            "[{limit: 1 MB}, {limit: 1 MB, days: monday}]",
            "bandwidth-limit[1].days: found 'monday'; accepted is days of the week, such as mon-fri",
        ),
        ("[{days: mon-fri}]", "bandwidth-limit[0].limit: is required, and not there"),
        ("{limit: 1 MB, hour: 08:00-18:00}", "hour: unknown key; did you mean hours?"),
        ("[1 MB]", "bandwidth-limit[0]: found '1 MB'; accepted is a mapping"),
    ],
)
def test_a_mistake_in_a_timetable_is_named_with_its_place(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert told in caught.value.message
    assert f"{tmp_path}/config.yml:5: " in caught.value.message


def test_the_file_of_the_limit_is_of_its_user_alone(tmp_path: Path) -> None:
    BandwidthLimit(tmp_path / "pace", constant(10_000)).wait_for(1)
    assert (tmp_path / "pace").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "pace").stat().st_uid == os.getuid()
