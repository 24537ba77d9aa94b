"""What both engines do where the file system at home cannot hold what the facility has.

Needs root, for it mounts file systems.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from asynchy.engines.rsync_engine import RsyncEngine
from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy
from asynchy.model.file_modes import Modes
from asynchy.model.file_times import tolerate
from tests.contract.engines import Engine, ignored, listed, transfer

pytestmark = pytest.mark.extra

_IMAGE = 64 << 20
"""Bytes."""


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def exfat(copy: Copy) -> Iterator[None]:
    """exFAT by FUSE, which says of a name that it refuses that it is not there."""
    image = copy.project_folder.with_name("image")
    image.touch()
    os.truncate(image, _IMAGE)
    run("mkfs.exfat", image)
    device = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        run("mount.exfat-fuse", device, copy.project_folder)
        try:
            yield
        finally:
            run("umount", copy.project_folder)
    finally:
        run("losetup", "--detach", device)


@contextmanager
def mounted(copy: Copy, make: list[str], mount: list[str]) -> Iterator[None]:
    """A new file system in the place of the project folder."""
    image = copy.project_folder.with_name("image")
    image.touch()
    os.truncate(image, _IMAGE)
    run(*make, image)
    run(*mount, image, copy.project_folder)
    try:
        yield
    finally:
        run("umount", copy.project_folder)


@pytest.fixture
def ntfs(copy: Copy) -> Iterator[None]:
    """NTFS, as Windows takes names: without colons, and case does not matter."""
    options = ["-o", "windows_names,ignore_case"]
    with mounted(copy, ["mkfs.ntfs", "-F", "-q"], ["lowntfs-3g", *options]):
        yield


def with_umask(engine: Engine) -> Engine:
    modes = Modes("umask")
    if isinstance(engine, RsyncEngine):
        return replace(engine, transfer_options=replace(engine.transfer_options, modes=modes))
    return replace(engine, modes=modes)


def written(copy: Copy, *names: str | bytes) -> None:
    for name in names:
        path = Path(copy.source) / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.fsencode(path.name))
        os.utime(path, (1_700_000_000, 1_700_000_000))


def at_home(copy: Copy) -> set[str]:
    """The text of each file."""
    found = [path for path in copy.destination.rglob("*") if path.is_file()]
    return {path.read_text() for path in found}


@pytest.mark.usefixtures("ntfs")
def test_names_that_home_cannot_hold_or_tell_apart_keep_themselves_back_alone(
    engine: Engine, copy: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    engine = with_umask(engine)
    written(copy, "Frame_1.h5", "frame_1.h5", "good", "scan_12:30.log", b"latin-\xe9")
    written(copy, "Folder/in_first", "folder/in_second", "a:b/deep")
    for moved in (3, 0):
        caplog.clear()
        result: EngineResult = transfer(engine, copy, Stop(), ignored)
        assert (result.ok, result.files) == (False, moved)
        assert result.reason is not None and result.reason.startswith("5 files could not be")
        for name, why in {
            "frame_1.h5": "does not distinguish its name from Frame_1.h5",
            "folder": "does not distinguish its name from Folder",
            "scan_12:30.log": "refuses its name",
            "latin-\\xe9": "refuses its name",
            "a:b": "refuses its name",
        }.items():
            assert any(name in line and why in line for line in caplog.messages), name
        assert at_home(copy) == {"Frame_1.h5", "good", "in_first"}


@pytest.mark.usefixtures("ntfs")
def test_of_files_whose_names_home_refuses_no_byte_is_fetched(engine: Engine, copy: Copy) -> None:
    engine = with_umask(engine)
    refused = ("scan_12:30.log", "scan_12:31.log", "sub/end.", "CON.txt", "a*b", b"latin-\xe9")
    written(copy, *refused)
    written(copy, "a b", "a c", "sub/scan 12.30 (2)", "\u0434\u0430\u043d\u043d\u044b\u0435")
    result = transfer(engine, copy, Stop(), ignored)
    names = {"a b", "a c", "scan 12.30 (2)", "\u0434\u0430\u043d\u043d\u044b\u0435"}
    assert at_home(copy) == names
    assert (result.files, result.bytes) == (4, sum(len(os.fsencode(name)) for name in names))
    assert result.reason is not None and result.reason.startswith("6 files could not be")


@pytest.mark.usefixtures("exfat")
def test_names_that_home_says_are_not_there_are_refused_names(
    engine: Engine, copy: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    engine = with_umask(engine)
    written(copy, "a|b", '"q"', "c:d/deep", "good")
    for moved in (1, 0):
        caplog.clear()
        result = transfer(engine, copy, Stop(), ignored)
        assert (result.files, result.bytes) == (moved, moved * len("good"))
        assert at_home(copy) == {"good"}
        told = [line for line in caplog.messages if "refuses its name" in line]
        assert sorted(line.partition(": ")[0] for line in told) == ['"q"', "a|b", "c:d"]
        assert "No such file" not in caplog.text


@pytest.mark.usefixtures("ntfs")
def test_two_listed_names_of_one_file_are_seen_from_what_is_at_home(
    engine: Engine, copy: Copy
) -> None:
    engine = with_umask(engine)
    written(copy, "Frame_1.h5", "good")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert listed(engine.remote, copy).listing_diff.same_place is None
    written(copy, "frame_1.h5")
    listing_diff = listed(engine.remote, copy).listing_diff
    assert listing_diff.same_place is not None
    assert sorted(listing_diff.same_place) == [b"Frame_1.h5", b"frame_1.h5"]
    assert listing_diff.missing_files == 1


@pytest.mark.usefixtures("ntfs")
def test_what_is_at_home_keeps_its_place_from_a_name_that_differs_in_case(
    engine: Engine, copy: Copy
) -> None:
    engine = with_umask(engine)
    written(copy, "frame_1.h5")
    assert transfer(engine, copy, Stop(), ignored).ok
    arrived = {b"frame_1.h5": (len("frame_1.h5"), 1_700_000_000)}
    (Path(copy.source) / "Frame_1.h5").write_text("ANOTHER")
    for _ in range(2):
        result = engine.transfer(listed(engine.remote, copy, arrived), Stop(), ignored)
        assert result.reason is not None and "Frame_1.h5" in result.reason
        assert "does not distinguish its name from frame_1.h5" in result.reason
        assert at_home(copy) == {"frame_1.h5"}


def test_times_after_2038_are_named_and_may_be_tolerated(engine: Engine, copy: Copy) -> None:
    small_inodes = ["mkfs.ext4", "-q", "-I", "128", "-F"]
    with mounted(copy, small_inodes, ["mount", "-o", "loop"]):
        written(copy, "now", "late")
        os.utime(Path(copy.source) / "late", (4_102_444_800, 4_102_444_800))
        for moved in (2, 0):
            result = transfer(engine, copy, Stop(), ignored)
            assert (result.ok, at_home(copy)) == (False, {"now", "late"})
            assert result.files == moved
            assert result.reason is not None
            assert result.reason.startswith(
                "1 file is at home without the right time, the first of them "
                "late: the file system at home cannot hold its time"
            )
            assert "`time-tolerance: 2`" in result.reason
        tolerate(2)
        try:
            assert listed(engine.remote, copy).listing_diff.missing_files == 0
            (copy.destination / "late").unlink()
            again = transfer(engine, copy, Stop(), ignored)
            assert (again.ok, again.files) == (True, 1)
        finally:
            tolerate(0)
