"""What every engine does with what people have at home: it stays, and no link is followed."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from asynchy.domain.experiment import Copy
from asynchy.domain.stop import Stop
from asynchy.transfer.rsync import RsyncEngine
from simulator.compare import compare_trees
from tests.contract.engines import Engine, ignored, listed, transfer

NAMES = (
    b"-rf",
    b"--files-from=x",
    b"a\nb",
    b"a\r\nb",
    b"*",
    b"[ab]?",
    b"\xff\xfe.h5",
    b"back\\slash\\#012",
    b" ",
    b"; #",
)
"""Names of files and folders that something on the way could take for something else."""
Facts = dict[bytes, tuple[int, int]]


def by_size(engine: Engine) -> Engine:
    if isinstance(engine, RsyncEngine):
        return replace(engine, means=replace(engine.means, compare="size"))
    return replace(engine, compare="size")


def facts(folder: Path) -> Facts:
    """The size and time of each file, as they are recorded."""
    return {
        os.fsencode(path.relative_to(folder)): (path.stat().st_size, int(path.stat().st_mtime))
        for path in folder.rglob("*")
        if path.is_file()
    }


def brought(engine: Engine, copy: Copy, name: str = "a.h5", data: bytes = b"measured") -> Path:
    """A file that was brought home; where it is."""
    (Path(copy.source) / name).write_bytes(data)
    os.utime(Path(copy.source) / name, (1_700_000_000, 1_700_000_000))
    assert transfer(engine, copy, Stop(), ignored).ok
    return copy.destination / name


def test_names_that_mean_something_elsewhere_arrive(engine: Engine, copy: Copy) -> None:
    for folder in NAMES:
        above = Path(copy.source) / os.fsdecode(folder)
        above.mkdir()
        for at, name in enumerate(NAMES):
            (above / os.fsdecode(name)).write_bytes(b"%d " % at * 100 + folder)
    first = transfer(engine, copy, Stop(), ignored)
    assert (first.ok, first.files, first.reason) == (True, len(NAMES) ** 2, None)
    assert compare_trees(Path(copy.source), copy.destination) == []
    again = transfer(engine, copy, Stop(), ignored)
    assert (again.ok, again.files, again.bytes) == (True, 0, 0)


@pytest.mark.parametrize("restore", [False, True])
def test_an_edit_between_listing_and_transfer(engine: Engine, copy: Copy, restore: bool) -> None:
    mine = brought(engine, copy)
    job = replace(listed(engine.remote, copy, facts(Path(copy.source))), restore=restore)
    mine.write_bytes(b"a week of work")
    result = engine.transfer(job, Stop(), ignored)
    assert (result.ok, result.files) == (True, int(restore))
    if restore:
        assert mine.read_bytes() == b"measured"
        assert (job.replaced / "a.h5").read_bytes() == b"a week of work"
    else:
        assert mine.read_bytes() == b"a week of work"
        assert not job.replaced.parent.exists()


def test_an_edit_of_a_file_of_which_the_facility_has_another_is_kept(
    engine: Engine, copy: Copy
) -> None:
    mine = brought(engine, copy)
    records = facts(Path(copy.source))
    (Path(copy.source) / "a.h5").write_bytes(b"measured again, and longer")
    job = listed(engine.remote, copy, records)
    mine.write_bytes(b"a week of work")
    assert engine.transfer(job, Stop(), ignored).ok
    assert mine.read_bytes() == b"measured again, and longer"
    assert (job.replaced / "a.h5").read_bytes() == b"a week of work"


def test_comparing_sizes_changes_no_time_of_an_edit(engine: Engine, copy: Copy) -> None:
    engine = by_size(engine)
    mine, unknown = (brought(engine, copy, name) for name in ("a.h5", "b.h5"))
    records = facts(Path(copy.source))
    del records[b"b.h5"]
    for path in (mine, unknown):
        path.write_bytes(b"MEASURED")  # of the same size
        os.utime(path, (1_700_000_999, 1_700_000_999))
    result = engine.transfer(listed(engine.remote, copy, records), Stop(), ignored)
    assert (result.ok, result.files) == (True, 0)
    assert (mine.read_bytes(), int(mine.stat().st_mtime)) == (b"MEASURED", 1_700_000_999)
    # What is not known to have been otherwise counts as the facility's, and gets its time.
    assert int(unknown.stat().st_mtime) == 1_700_000_000


@pytest.mark.parametrize("where", ["frames", "frames/s0"])
def test_a_link_where_a_folder_is_to_be_is_refused(
    engine: Engine, copy: Copy, where: str, tmp_path: Path
) -> None:
    source = Path(copy.source)
    for name in ("frames/s0/a.h5", "frames/s0/deep/b.h5", "c.h5"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"measured")
    outside = tmp_path / "outside"
    (outside / "s0" / "deep").mkdir(parents=True)
    canary = outside / "s0" / "a.h5"
    canary.write_bytes(b"canary")
    before = {path: path.stat().st_mtime_ns for path in (canary, *outside.rglob("*"))}
    link = copy.destination / where
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if where == "frames" else outside / "s0")

    result = transfer(engine, copy, Stop(), ignored)
    assert (result.ok, result.stopped, result.lost) == (False, False, False)
    assert result.reason == (
        f"2 files could not be fetched, the first of them {where}: {link}: "
        "a symbolic link lies in the way; move it away"
    )
    assert canary.read_bytes() == b"canary"
    assert {path: path.stat().st_mtime_ns for path in (canary, *outside.rglob("*"))} == before
    assert link.is_symlink()
    assert (copy.destination / "c.h5").read_bytes() == b"measured"

    link.unlink()
    again = transfer(engine, copy, Stop(), ignored)
    assert (again.ok, again.files) == (True, 2)
    assert compare_trees(source, copy.destination) == []


def test_a_folder_of_a_person_where_a_file_is_to_be_stays(
    engine: Engine, copy: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    (Path(copy.source) / "a.h5").write_bytes(b"measured")
    mine = copy.destination / "a.h5" / "notes"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with caplog.at_level(logging.WARNING):
        result = transfer(engine, copy, Stop(), ignored)
    assert not result.ok
    assert f"{mine.parent}: a folder lies in the way; move it away" in str(result.reason)
    assert f"{mine.parent}: a folder lies in the way" in caplog.text
    assert mine.read_text() == "mine"
