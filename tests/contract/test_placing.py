"""What every engine does with what people have at home: it stays, and no link is followed."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from asynchy.engines.rsync_engine import RsyncEngine
from asynchy.localfs.copy_tree import CopyTree
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy, Entry
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
        return replace(engine, transfer_options=replace(engine.transfer_options, compare="size"))
    return replace(engine, compare="size")


def facts(folder: Path) -> Facts:
    """The size and time of each file, as they are recorded."""
    return {
        os.fsencode(path.relative_to(folder)): (
            path.stat().st_size,
            path.stat().st_mtime_ns // 10**9,
        )
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
    assert (mine.read_bytes(), mine.stat().st_mtime_ns // 10**9) == (b"MEASURED", 1_700_000_999)
    # What is not known to have been otherwise counts as the facility's, and gets its time.
    assert unknown.stat().st_mtime_ns // 10**9 == 1_700_000_000


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
        "a symbolic link is in the way; move it away"
    )
    assert canary.read_bytes() == b"canary"
    assert {path: path.stat().st_mtime_ns for path in (canary, *outside.rglob("*"))} == before
    assert link.is_symlink()
    assert (copy.destination / "c.h5").read_bytes() == b"measured"

    link.unlink()
    again = transfer(engine, copy, Stop(), ignored)
    assert (again.ok, again.files) == (True, 2)
    assert compare_trees(source, copy.destination, modes=False) == []


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
    assert f"{mine.parent}: a folder is in the way; move it away" in str(result.reason)
    assert f"{mine.parent}: a folder is in the way" in caplog.text
    assert mine.read_text() == "mine"


def test_a_large_file_that_has_no_place_keeps_no_other_back_and_is_not_fetched_again(
    engine: Engine, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, place = Path(copy.source), copy.destination / "big"
    (source / "big").write_bytes(os.urandom(20_000_000))
    names = [f"z{number}" for number in range(20)]
    for name in names:
        (source / name).write_bytes(b"small")

    really = CopyTree.place

    def take_place(home: CopyTree, folder: int, name: str | bytes, entry: Entry) -> None:
        if entry.path == b"big":  # at the last moment: all of it has come
            place.mkdir()
        really(home, folder, name, entry)

    with monkeypatch.context() as patched:
        patched.setattr(CopyTree, "place", take_place)
        result = transfer(engine, copy, Stop(), ignored)
    assert not result.ok and result.reason is not None
    assert result.reason.startswith("1 file could not be fetched, the first of them big: ")
    assert {path.name for path in copy.destination.glob("z*")} == set(names)
    place.rmdir()
    again = transfer(engine, copy, Stop(), ignored)
    assert again.ok, again.reason
    assert (again.bytes or 0) < 20_000_000
    assert place.read_bytes() == (source / "big").read_bytes()


def test_a_file_whose_time_home_cannot_hold_is_named_and_not_fetched_again(
    engine: Engine, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = brought(engine, copy)
    os.utime(mine, (1_700_000_002, 1_700_000_002))
    os.utime(Path(copy.source) / "a.h5", (1_700_000_003, 1_700_000_003))
    monkeypatch.setattr(Scratch, "time_at_home", lambda _self, modified: modified // 2 * 2)
    job = listed(engine.remote, copy)
    assert job.listing_diff.missing_files == 1
    result = engine.transfer(job, Stop(), ignored)
    assert (result.ok, result.files) == (False, 0)
    assert result.reason is not None and "a.h5: the file system at home cannot" in result.reason
    os.utime(mine, (1_700_000_001, 1_700_000_001))  # a time that home would not have made
    assert transfer(engine, copy, Stop(), ignored).ok
    assert mine.stat().st_mtime_ns // 10**9 == 1_700_000_003


def test_modes_at_home_are_peoples_unless_the_facilitys_are_asked_for(
    engine: Engine, copy: Copy
) -> None:
    source = Path(copy.source)
    (source / "frames").mkdir()
    for name in ("small", "frames/large"):
        (source / name).write_bytes(b"x")
        os.truncate(source / name, 9 << 20 if name.endswith("large") else 1)
        (source / name).chmod(0o440)
    umask = os.umask(0o077)
    try:
        assert transfer(engine, copy, Stop(), ignored).ok
    finally:
        os.umask(umask)
    places = [copy.destination / name for name in ("small", "frames/large", "frames")]

    def modes() -> list[str]:
        return [oct(stat.S_IMODE(place.stat().st_mode)) for place in places]

    assert modes() == ["0o660", "0o660", "0o2774"]
    for place in places:
        place.chmod(0o700)
    (source / "new").write_bytes(b"x")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert modes() == ["0o700"] * 3
    job = replace(listed(engine.remote, copy), restore=True)
    assert engine.transfer(job, Stop(), ignored).ok
    assert modes()[:2] == ["0o660"] * 2
