"""A destination that is full or turns read-only, on a small file system of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from tests.conftest import Home, give, scripts, with_small_disk

pytestmark = pytest.mark.extra


def on_small_disk(home: Home, options: str, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run commands where the project folder is a file system made with these mount options."""
    target = home.storage / "ny79"
    return with_small_disk(target, f"mode=2775,{options}", home.place, *commands)


def experiment(home: Home, *sizes: int) -> Path:
    source = home.facility.experiment("mx", "12282a")
    for at, size in enumerate(sizes):
        (source / f"frame_{at:04}.cbf").write_bytes(os.urandom(size))
    give(source)
    home.visit("12282a")
    return source


def test_what_does_not_fit_is_not_begun_for_want_of_bytes_or_of_inodes(home: Home) -> None:
    experiment(home, *[50_000] * 60)
    mxsync = f"{scripts()}/mxsync --config {home.config} --execute --once"
    bytes_short = on_small_disk(home, "size=1m", mxsync)
    assert bytes_short.returncode == 1
    assert "not enough free space: 3.19 MB to write" in bytes_short.stdout
    inodes_short = on_small_disk(home, "size=100m,nr_inodes=30", mxsync)
    assert inodes_short.returncode == 1
    assert "not enough free inodes: 61 files and folders to write" in inodes_short.stdout


FULL = "head -c 6M /dev/zero > storage/ny79/other"
MEDDLING = {
    "rsync": f'case "$*" in *--list-only*|*--version*) ;; *) {FULL} ;; esac',
    # Streams are connected before the plan is made, so it waits until the first file is written.
    "ssh": f"[ -e meddled ] || {{ touch meddled; (until [ -e storage/ny79/12282a/data ]; do sleep 0.01; done; {FULL}) & }}",
}


@pytest.mark.parametrize(("engine", "tool"), [("rsync", "rsync"), ("sftp", "ssh")])
def test_a_disk_that_fills_meanwhile_is_named_and_the_next_run_completes(
    home: Home, engine: str, tool: str
) -> None:
    source = experiment(home, *[400_000] * 20)
    home.configure(engine=engine, **({"bandwidth-limit": "2 MB"} if engine == "sftp" else {}))
    mxsync = f"{scripts()}/mxsync --config {home.config} --execute --once"
    # Something else takes the space after the plan was made: started by the program that transfers.
    # An rsync is started in a folder of its own.
    meddling = MEDDLING[tool].replace("storage/", f"{home.storage}/")
    slow = home.place / "bin"
    slow.mkdir()
    (slow / tool).write_text(f'#!/bin/sh\n{meddling}\nexec /usr/bin/{tool} "$@"\n')
    (slow / tool).chmod(0o755)
    give(home.place)
    run = on_small_disk(
        home,
        "size=10m",
        f'export OLD="$PATH" PATH="{slow}:$PATH"',
        mxsync,
        "echo $? > first; ls storage/ny79/12282a/data | wc -l > had",
        'rm storage/ny79/other; export PATH="$OLD"',
        mxsync,
        "echo $? > second",
        "cp -a storage/ny79/12282a/data result",
    )
    assert (home.place / "first").read_text() == "1\n", run.stdout + run.stderr
    assert "the destination is full (ENOSPC)" in run.stdout
    assert (home.place / "second").read_text() == "0\n", run.stdout + run.stderr
    assert compare_trees(source, home.place / "result", modes=False) == []
    last = home.status("12282a")[0]["history"][-1]
    had = int((home.place / "had").read_text())
    assert (last["verdict"], had > 0, last["files"]) == ("complete", True, 20 - had)


def test_a_destination_that_turns_read_only_is_named_and_the_next_run_completes(home: Home) -> None:
    source = experiment(home, *[100_000] * 10)
    mxsync = f"{scripts()}/mxsync --config {home.config} --execute --once"
    target = home.storage / "ny79"
    run = on_small_disk(
        home,
        "size=10m",
        mxsync,
        f"echo 'previouslySynched: []' > {home.place}/ignore.yml; rm {target}/12282a/data/frame_0003.cbf",
        f"mount -o remount,ro {target}",
        mxsync,
        "echo $? > first",
        f"mount -o remount,rw {target}",
        mxsync,
        "echo $? > second",
        "cp -a storage/ny79/12282a/data result",
    )
    assert (home.place / "first").read_text() == "1\n", run.stdout + run.stderr
    assert "the destination is mounted read-only" in run.stdout
    assert (home.place / "second").read_text() == "0\n", run.stdout + run.stderr
    assert compare_trees(source, home.place / "result", modes=False) == []
    assert home.status("12282a")[0]["history"][-1]["files"] == 1


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_copy_that_is_a_file_system_of_its_own_comes_home_and_keeps_what_is_replaced(
    home: Home, engine: str
) -> None:
    source = experiment(home, 10_000, 3_000_000)
    home.configure(engine=engine)
    copy = home.copy("12282a")
    copy.mkdir(parents=True)
    give(home.storage)
    mxsync = f"{scripts()}/mxsync --config {home.config} --execute --once"
    newer = source / "frame_0000.cbf"
    older = newer.read_bytes()
    run = with_small_disk(
        copy,
        "mode=2775,size=20m",
        home.place,
        mxsync,
        "echo $? > first",
        f"head -c 20000 /dev/urandom > {newer}",
        "printf 'previouslySynched: []\\n' > ignore.yml",
        mxsync,
        "echo $? > second",
        f"cp -a {copy} result",
    )
    for name in ("first", "second"):
        assert (home.place / name).read_text() == "0\n", run.stdout + run.stderr
    # The folder for files on their way was in the copy's own, which is newer for that.
    differences = compare_trees(source, home.place / "result", modes=False)
    assert [line for line in differences if not line.endswith("here: '.'")] == []
    (kept,) = copy.with_name("data.asynchy-replaced").rglob("frame_0000.cbf")
    assert kept.read_bytes() == older
