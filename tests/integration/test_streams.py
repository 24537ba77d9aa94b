"""Transfers in several streams: how many there are, how fast they may be, what a kill costs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from asynchy.engines.sftp import partial_files
from simulator.compare import compare_trees
from simulator.experiments import big_sparse_file, many_small_files, mx_experiment
from tests.conftest import Home, comes_in_part, give, wait_until

BIG = 2**29


def prepared(home: Home, *, big: int = 0, small: int = 0) -> Path:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=4, frame_bytes=20_000)
    if big:
        big_sparse_file(source / "zz" / "image.sqfs", big)
    if small:
        many_small_files(source, small)
    give(source)
    home.visit("12282a")
    return source


def test_small_and_large_files_come_over_several_connections(home: Home) -> None:
    source = prepared(home, big=2**27 + 5, small=3000)
    home.configure(streams=4)
    last = home.undisturbed(source)
    assert last["bytes"] == sum(
        path.stat().st_size for path in home.copy("12282a").rglob("*") if path.is_file()
    )
    assert last["files"] == sum(path.is_file() for path in home.copy("12282a").rglob("*"))
    home.fetched_once(source)


def test_the_streams_of_one_experiment_serve_the_next(home: Home) -> None:
    numbers = ["12282a", "12283a", "12284a"]
    home.configure(
        streams=3, max_tasks=1, epn_cap_map=dict.fromkeys(["12282", "12283", "12284"], "ny79")
    )
    for epn in numbers:
        source = home.facility.experiment("mx", epn)
        many_small_files(source, 1000)
        big_sparse_file(source / "image.sqfs", 2**26)
        give(source)
        home.visit(epn)
    before = home.facility.sshd_log().count("Accepted publickey")
    assert home.once().returncode == 0
    for epn in numbers:
        assert compare_trees(home.facility.experiment("mx", epn), home.copy(epn)) == []
    # Three streams, and one connection for the listings: not four for each experiment.
    assert home.facility.sshd_log().count("Accepted publickey") - before <= 4


def test_a_file_in_many_pieces_that_may_not_be_read_counts_as_one_file(home: Home) -> None:
    source = prepared(home, big=2**28)
    (source / "zz" / "image.sqfs").chmod(0)
    run = home.once()
    refused = "zz/image.sqfs: it may not be read at the facility (EACCES)"
    assert f"due: 1 file could not be fetched, the first of them {refused}" in run.stdout
    assert run.stderr.count(f"WARNING {refused}") == 1


def test_after_a_kill_only_what_was_not_durable_is_fetched_again(home: Home) -> None:
    source = prepared(home, big=BIG)
    home.configure(bandwidth_limit="60 MB", streams=2)
    with home.serving("--once") as process:
        wait_until(lambda: comes_in_part(home.copy("12282a"), 2**27))
        process.kill()
    scratch = os.open(home.copy("12282a").parent / ".asynchy-data", os.O_RDONLY)
    (part,) = partial_files.find(scratch)
    os.close(scratch)
    kept = sum(length for _, length in part.extents)
    assert kept > 2**20
    home.configure()
    last = home.undisturbed(source)
    at_home = sum(path.stat().st_size for path in home.copy("12282a").rglob("*") if path.is_file())
    assert last["bytes"] == at_home - kept  # the image's rest, and the small files


def test_two_commands_share_one_connection(home: Home) -> None:
    home.configure(max_connections=1, epn_cap_map={"12282": "ny79", "12283": "ny79"})
    sources = {"12282a": prepared(home, small=300)}
    sources["12283a"] = home.facility.experiment("mx", "12283a")
    mx_experiment(sources["12283a"], "12283a", frames=4, frame_bytes=20_000)
    give(sources["12283a"])
    home.visit("12283a")
    assert home.once().returncode == 0  # two experiments at a time, max-tasks says
    for epn, source in sources.items():
        assert compare_trees(source, home.copy(epn)) == []


def test_a_server_that_drops_connections_gets_fewer(home: Home) -> None:
    home.facility.stop_sshd()
    home.facility.max_startups = "1:100:1"
    home.facility.start_sshd()
    source = prepared(home, big=BIG, small=500)
    home.configure(streams=6, bandwidth_limit="200 MB")
    run = home.once()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "a stream was lost" in home.log
    assert compare_trees(source, home.copy("12282a")) == []


@pytest.mark.extra
@pytest.mark.parametrize("engine", ["sftp", pytest.param("rsync", marks=pytest.mark.extra)])
def test_the_limit_of_the_bandwidth_holds(home: Home, engine: str) -> None:
    source = prepared(home, big=BIG)
    home.configure(engine=engine, bandwidth_limit="50 MB", streams=3)
    began = time.monotonic()
    last = home.undisturbed(source)
    seconds = time.monotonic() - began
    assert seconds > 0.95 * last["bytes"] / 50e6
    attempt = home.status("12282a")[0]["history"][-1]
    assert attempt["engine"] == engine


def test_an_engine_that_cannot_do_what_is_asked_is_refused(home: Home) -> None:
    prepared(home)
    home.configure(engine="sftp", symlinks="true")
    run = home.once()
    assert run.returncode == 3
    assert "auto or rsync: compare: checksum, symlinks and special-files need rsync" in run.stderr


@pytest.mark.parametrize(
    ("keys", "engine", "chosen"),
    [
        ({}, "sftp", "the server offers SFTP"),
        ({"compare": "checksum"}, "rsync", "compare: checksum needs rsync"),
        ({"symlinks": "true"}, "rsync", "symlinks: true needs rsync"),
        ({"engine": "rsync"}, "rsync", "engine: rsync"),
    ],
)
def test_the_engine_and_why_it_was_chosen_are_told(
    home: Home, keys: dict[str, str], engine: str, chosen: str
) -> None:
    prepared(home)
    home.configure(**keys)
    assert home.once().returncode == 0
    (attempt,) = home.status("12282a")[0]["history"]
    assert (attempt["engine"], attempt["chosen"]) == (engine, chosen)
    assert attempt["check"] == ("size" if engine == "sftp" else "transport")
    assert f"by the {engine} engine ({chosen})" in home.log


def test_without_sftp_rsync_does_it(home: Home) -> None:
    home.facility.stop_sshd()
    home.facility.offers_sftp = False
    home.facility.start_sshd()
    source = prepared(home)
    last = home.undisturbed(source)
    assert (last["engine"], last["chosen"]) == ("rsync", "the server offers no SFTP")


@pytest.mark.parametrize("value", ["0", "65", "many", "-1"])
def test_a_number_of_streams_that_makes_no_sense_is_refused(home: Home, value: str) -> None:
    home.configure(streams=value)
    run = home.once()
    assert run.returncode == 3
    assert "auto, or a number from 1 to 64" in run.stderr


def test_something_in_the_way_at_home_is_said_and_left_alone(home: Home) -> None:
    source = prepared(home)
    copy = home.copy("12282a")
    assert home.once().returncode == 0
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    outside = home.place / "outside"
    outside.mkdir()
    (copy / "frames").rename(home.place / "moved")
    (copy / "frames").symlink_to(outside)
    give(outside)
    run = home.once()
    assert run.returncode == 1
    assert "frames" in run.stdout
    assert list(outside.iterdir()) == []
    assert (copy / "frames").is_symlink()
    (copy / "frames").unlink()
    home.undisturbed(source)
