"""A facility without SFTP whose rsync lies: the checks of our rsync hold, and end in words."""

from __future__ import annotations

import os
import shutil

import pytest

from asynchy.ssh.rsync.output import known_holes
from tests.conftest import Home, give
from tests.hostile.harness import PYTHON, Hostile

OUT = "the server's rsync sent a name that leads out of the experiment"
"""Or one that was not asked for: rsync says the same of both."""
CASES = {
    "climbs": OUT,
    "climbs later": OUT,
    "from the root": OUT,
    "garbage": "something other than rsync answered",
    "NUL": OUT,
    "escape sequence": OUT,
    "listing: escape sequence": "it changed at the facility while it was fetched",
    "cut off": "the connection (broke off|failed)",  # what rsync meets first
    "4 GiB": "the connection broke off",
    "listing: climbs": OUT,
    "listing: garbage": "something other than rsync answered",
    "listing: stall": "no data came for too long",
}
AS_TOLD = ["becomes a link"]
"""What comes home as it is told."""


@pytest.fixture
def lying(home: Home) -> Hostile:
    hostile = Hostile(home)
    facility = home.facility
    facility.stop_sshd()
    facility.offers_sftp = False
    real = shutil.which("rsync")
    facility.programs = {"rsync": f'exec {PYTHON} {hostile.tools}/lying_rsync.py {real} "$@"'}
    facility.max_startups = "200"
    facility.start_sshd()
    return hostile


@pytest.mark.extra
def test_each_ends_in_words_for_that_experiment_alone(lying: Hostile) -> None:
    hostile, home, facility = lying, lying.home, lying.home.facility
    hostile.prepare([*CASES, *AS_TOLD, "odd times"])
    for epn in hostile.epns.values():
        for name in ("xx_evil", "yy_evilevil"):
            (facility.experiment("mx", epn) / name).write_text("not yours")
    # Where the file system has such times.
    os.utime(facility.experiment("mx", hostile.epns["odd times"]) / "zz.h5", (0, 10**10))
    os.utime(facility.experiment("mx", hostile.epns["odd times"]) / "xx_evil", (0, -62_200_000_000))
    give(facility.data)
    hostile.configure()
    run = hostile.once()
    assert run.done.returncode == 4
    run.check(CASES)
    run.is_home("odd times")
    for what in AS_TOLD:
        run.is_home(what, as_it_is=False)
    assert not (home.copy(hostile.epns["becomes a link"]) / "sub").is_symlink()


@pytest.mark.extra
def test_a_server_that_stands_still_ends_in_words(lying: Hostile) -> None:
    lying.prepare(["stall"])
    lying.configure(timeout=2)
    run = lying.once()
    run.ends("stall", "no data came for (too long|20 s)")  # whoever notices first


@pytest.mark.parametrize(
    ("version", "named"),
    [
        ("rsync  version 3.1.3  protocol version 31", "CVE-2022-29154"),
        ("rsync  version 3.2.7  protocol version 31", "CVE-2024-12084"),
        ("rsync  version 3.4.1  protocol version 32", "CVE-2026-43618"),
    ],
)
def test_an_rsync_with_known_holes_is_named(version: str, named: str) -> None:
    assert named in (known_holes(version) or "")
    assert known_holes("rsync  version 99.0.0  protocol version 40") is None
    assert known_holes("no version at all") is None
