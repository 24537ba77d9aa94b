"""Paths at the facility that are about as long as Linux allows: what comes, and what is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulator.experiments import write_bytes
from tests.conftest import Group, Home, give

FOLDER = b"d" * 99
LONGEST = 4095
"""Bytes of a path: PATH_MAX of Linux, without the byte that ends it."""


def file_with(length: int, above: int = 0) -> bytes:
    """A path whose length, with that of what is above it, is so many bytes."""
    left = length - above
    folders = (left - 156) // 100
    return b"/".join([FOLDER] * folders + [b"f" * (left - 100 * folders)])


def bring(home: Home, engine: str, *paths: bytes, sftp: bool = True) -> Path:
    """Have an experiment with these files, and one more, at the facility."""
    source = home.facility.experiment("mx", "12282a")
    give(source)
    for path in (*paths, b"other"):
        write_bytes(os.fsencode(source) + b"/" + path, b"data")
    home.visit("12282a")
    home.configure(engine=engine)
    if not sftp:
        home.facility.stop_sshd()
        home.facility.offers_sftp = False
        home.facility.start_sshd()
    return source


def has(copy: Path, path: bytes) -> bool:
    """Whether a file is there; its path may be longer than the system takes at once."""
    at = os.open(copy, os.O_RDONLY)
    for name in path.split(b"/"):
        try:
            below = os.open(name, os.O_RDONLY, dir_fd=at)
        except FileNotFoundError:
            return False
        finally:
            os.close(at)
        at = below
    os.close(at)
    return True


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_folder_whose_entries_may_have_too_long_a_path_is_named_and_keeps_the_copy_due(
    home: Home, engine: str
) -> None:
    above = len(os.fsencode(home.facility.data / "mx" / "12282a")) + 1
    path = file_with(LONGEST + 1, above)  # OpenSSH's server leaves it out, and says nothing
    bring(home, engine, path)
    run = home.once()
    assert run.returncode == 1, run.stdout + run.stderr
    told = " ".join(run.stdout.split())
    assert "1 folder could not be listed at the facility" in told
    assert "it may have files with paths of more than 4,095 bytes, which SFTP cannot list" in told
    assert "ask the facility to move it to a shorter path" in told
    assert (home.copy("12282a") / "other").read_text() == "data"
    (row,) = home.status("12282a")
    assert row["last"]["verdict"] == "failed" and "12282a" not in home.ignored


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_folder_whose_entries_cannot_have_too_long_a_path_is_complete(
    home: Home, engine: str
) -> None:
    above = len(os.fsencode(home.facility.data / "mx" / "12282a")) + 1
    folder = file_with(LONGEST - 256, above)
    source = bring(home, engine, folder + b"/" + b"f" * 255)
    run = home.once()
    assert run.returncode == 0, run.stdout + run.stderr
    assert has(home.copy("12282a"), folder + b"/" + b"f" * 255)
    assert source.is_dir()


def test_a_scan_names_a_folder_whose_entries_may_have_too_long_a_path(group: Group) -> None:
    source = group.experiment("12282a")
    above = len(os.fsencode(source)) + 1
    write_bytes(os.fsencode(source) + b"/" + file_with(LONGEST + 1, above), b"data")
    run = group.walk()
    assert run.returncode == 1, run.stdout + run.stderr
    assert "it may have files with paths of more than 4,095 bytes" in " ".join(run.stdout.split())


def test_a_path_that_rsync_cannot_fetch_is_named_and_all_else_comes(home: Home) -> None:
    fits, long = file_with(4093), b"e/" + file_with(4092)
    bring(home, "rsync", fits, long, sftp=False)
    run = home.once()
    assert run.returncode == 1, run.stdout + run.stderr
    (row,) = home.status("12282a")
    assert (row["last"]["verdict"], row["last"]["files"]) == ("failed", 2)
    reason = row["last"]["reason"]
    assert reason.startswith("1 file could not be fetched, the first of them e/ddd")
    assert reason.endswith("rsync cannot fetch a file whose path has more than 4,093 bytes")
    assert "malicious" not in run.stdout + home.log
    copy = home.copy("12282a")
    assert (copy / "other").read_text() == "data"
    assert has(copy, fits) and not has(copy, long)


@pytest.mark.parametrize("compare", ["time", "checksum"])
def test_many_long_paths_come_with_rsync(home: Home, compare: str) -> None:
    lengths = (3600, 3600, 3900, 3000, 2047, 2048, 2049, 4092, 2500, 4093, 3333, 3700)
    paths = [b"%02d/" % at + file_with(length - 3) for at, length in enumerate(lengths)]
    bring(home, "rsync", *paths, sftp=False)
    home.configure(engine="rsync", compare=compare)
    for _ in range(2):
        (home.place / "ignore.yml").write_text("previouslySynched: []\n")
        give(home.place / "ignore.yml")
        run = home.once()
        assert run.returncode == 0, run.stdout + run.stderr
    copy = home.copy("12282a")
    assert all(has(copy, path) for path in (*paths, b"other"))
    assert "rejecting" not in home.log


def test_a_path_that_rsync_cannot_list_is_named_and_all_else_comes(home: Home) -> None:
    long = file_with(LONGEST + 1)
    bring(home, "rsync", long, b"closed/file", sftp=False)
    closed = home.facility.data / "mx" / "12282a" / "closed"
    closed.chmod(0)
    give(closed)
    run = home.once()
    closed.chmod(0o755)
    assert run.returncode == 1, run.stdout + run.stderr
    told = " ".join(run.stdout.split())
    assert "2 folders could not be listed at the facility" in told
    assert f"the path of {'f' * 20}" in home.log and "has more than 4,095 bytes" in home.log
    assert (home.copy("12282a") / "other").read_text() == "data"
