"""A timetable of the bandwidth limit, and a clock that goes on while a transfer runs."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from simulator.compare import compare_trees
from tests.conftest import Home, wait_until
from tests.integration.test_clock import HOURS, experiment, experiment_of, set_clock

LIMIT = 4_000_000


def arrived(home: Home) -> int:
    """Bytes that the file system holds below the copy's folder, wherever they are."""
    files = [path for path in home.copy("12282a").parent.rglob("*") if path.is_file()]
    with suppress(FileNotFoundError):  # one has just been put in its place
        return sum(512 * path.stat().st_blocks for path in files)
    return 0


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_limit_that_ends_while_a_transfer_runs_is_lifted(
    home: Home, clock_library: str, engine: str
) -> None:
    experiment(home, "12282a", big=2**27)
    now = datetime.now(UTC)
    begin, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-2, 2))
    span = {"hours": f"{begin}-{end}", "limit": LIMIT}
    home.configure(engine=engine, bandwidth_limit=span, streams=2)
    set_clock(home, 0)
    environment = {
        "LD_PRELOAD": clock_library, "CLOCK_OFFSET": str(home.place / "offset"), "TZ": "UTC",
    }  # fmt: skip
    began = time.monotonic()
    with home.serving("--once", environment=environment) as process:
        wait_until(lambda: arrived(home) >= 2 * LIMIT)
        assert time.monotonic() - began > 0.9 * 2
        set_clock(home, 6 * HOURS)
        lifted = time.monotonic()
        process.communicate(timeout=60)
    assert time.monotonic() - lifted < 2**27 / LIMIT / 2
    assert compare_trees(experiment_of(home, "12282a"), home.copy("12282a")) == []


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_lower_limit_holds_from_its_time_on_while_a_transfer_runs(
    home: Home, clock_library: str, engine: str
) -> None:
    experiment(home, "12282a", big=2**28)
    now = datetime.now(UTC)
    hours = [f"{now + timedelta(hours=at):%H:%M}" for at in (-2, 2, 10)]
    spans = [
        {"hours": f"{hours[0]}-{hours[1]}", "limit": 4 * LIMIT},
        {"hours": f"{hours[1]}-{hours[2]}", "limit": LIMIT // 8},
    ]
    home.configure(engine=engine, bandwidth_limit=spans, streams=2)
    set_clock(home, 0)
    environment = {
        "LD_PRELOAD": clock_library, "CLOCK_OFFSET": str(home.place / "offset"), "TZ": "UTC",
    }  # fmt: skip
    with home.serving("--once", environment=environment) as process:
        wait_until(lambda: arrived(home) >= LIMIT)
        set_clock(home, 6 * HOURS)
        before, began = arrived(home), time.monotonic()
        # What was under way still comes: some MB, for a second or two at the old limit.
        wait_until(lambda: time.monotonic() > began + 8)
        came = arrived(home) - before
        process.kill()
    assert came < 8 * 4 * LIMIT / 4
