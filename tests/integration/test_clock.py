"""A wall clock that jumps under the running service, and under nothing else."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from simulator.experiments import big_sparse_file, mx_experiment
from tests.conftest import Home, give, wait_until

HOURS = 3600


@pytest.fixture
def clock(home: Home) -> dict[str, str]:
    """An environment in which `set_clock` sets the clock."""
    library = home.place / "clock.so"
    source = Path(__file__).parents[1] / "tools" / "clock.c"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source, "-ldl"],
        check=True,
    )
    set_clock(home, 0)
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(home.place / "offset")}


def set_clock(home: Home, seconds: int) -> None:
    new = home.place / "offset.new"
    new.write_text(str(seconds))
    give(new)
    new.replace(home.place / "offset")


def experiment(home: Home, epn: str, *, big: int = 0) -> None:
    source = home.facility.experiment("mx", epn)
    mx_experiment(source, epn, frames=2, frame_bytes=2000)
    if big:
        big_sparse_file(source / "zz" / "z-image.sqfs", big)
    give(source)
    home.visit(epn)


@pytest.mark.extra
@pytest.mark.parametrize("hours", [-2, 2, -24 * 365], ids=["back", "forward", "a year back"])
def test_the_next_cycle_comes_when_it_is_due(home: Home, clock: dict[str, str], hours: int) -> None:
    assert shutil.which("gcc")
    experiment(home, "12282a")
    home.configure(sync_frequency_hours=0.0008)
    with home.serving(environment=clock) as process:
        wait_until(lambda: "12282a" in home.ignored)
        set_clock(home, hours * HOURS)
        seen = home.log.count("cycle ended")
        wait_until(lambda: home.log.count("cycle ended") >= seen + 3)
        if hours > -24:  # a visit of yesterday has ended by this clock, too
            experiment(home, "12283b")
            wait_until(lambda: "12283b" in home.ignored)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 0
    assert home.status("12282a")[0]["attempts"] == 1  # nothing was fetched again
    assert "Traceback" not in home.log


@pytest.mark.extra
def test_set_back_in_mid_transfer(home: Home, clock: dict[str, str]) -> None:
    experiment(home, "12282a", big=2**29)
    with home.serving("--once", environment=clock) as process:
        scratch = home.copy("12282a").parent / ".asynchy-data"
        wait_until(lambda: any(p.stat().st_size > 2**24 for p in scratch.glob("z-image*")))
        set_clock(home, -2 * HOURS)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    (attempt,) = home.status("12282a")[0]["history"]
    assert attempt["verdict"] == "complete"
    assert attempt["started"] < attempt["ended"]
    assert (home.copy("12282a") / "zz" / "z-image.sqfs").stat().st_size == 2**29
