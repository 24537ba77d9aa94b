"""What every engine does, whatever it is made of (`asynchy.engines.base.Engine`)."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from asynchy.localfs.copy_tree import make_folders
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy
from asynchy.ssh.rsync.fetcher import PARTIAL_DIR
from simulator.compare import compare_trees
from simulator.experiments import awkward_names, big_sparse_file, mx_experiment
from simulator.facility import Facility
from tests.contract.engines import (
    Engine,
    Listed,
    MakeEngine,
    ignored,
    in_several_streams,
    listed,
    remote_of,
    slowly,
    transfer,
)


def test_everything_arrives_with_its_bytes_times_and_modes(engine: Engine, copy: Copy) -> None:
    mx_experiment(Path(copy.source), "12282a", frames=4)
    awkward_names(Path(copy.source))
    result = transfer(engine, copy, Stop(), ignored)
    assert (result.ok, result.exit_code, result.reason, result.stopped) == (True, 0, None, False)
    assert compare_trees(Path(copy.source), copy.destination) == []
    assert result.files is not None and result.files > 20
    assert result.bytes is not None and result.bytes > 100_000


def test_all_of_it_arrives_once_in_several_streams(engine: Engine, copy: Copy) -> None:
    source = Path(copy.source)
    mx_experiment(source, "12282a", frames=4)
    awkward_names(source)
    for at in range(40):
        (source / f"run {at % 5}").mkdir(exist_ok=True)
        (source / f"run {at % 5}" / f"scan\n{at}.h5").write_bytes(
            os.urandom(3_000_000) + bytes([at])
        )
    heard: list[tuple[int, int]] = []
    result = transfer(in_several_streams(engine), copy, Stop(), lambda *told: heard.append(told))
    assert (result.ok, result.reason) == (True, None)
    assert compare_trees(source, copy.destination) == []
    files = [path for path in copy.destination.rglob("*") if path.is_file()]
    assert result.files == len(files)
    assert result.bytes == sum(path.stat().st_size for path in files)
    assert heard == sorted(heard)
    assert [path.name for path in copy.destination.parent.iterdir()] == ["data"]
    again = transfer(in_several_streams(engine), copy, Stop(), ignored)
    assert (again.ok, again.files, again.bytes) == (True, 0, 0)


def test_stopped_in_several_streams_it_ends_soon_and_goes_on(engine: Engine, copy: Copy) -> None:
    source = Path(copy.source)
    for at in range(40):
        (source / f"scan {at}.h5").write_bytes(os.urandom(5_000_000))
    stop = Stop()

    def stop_in_the_middle(done: int, _files: int) -> None:
        if done > 40_000_000:
            stop.request()

    first = transfer(slowly(in_several_streams(engine)), copy, stop, stop_in_the_middle)
    assert (first.ok, first.stopped) == (False, True)
    second = transfer(in_several_streams(engine), copy, Stop(), ignored)
    assert second.ok
    assert second.bytes is not None and second.bytes < 190_000_000
    assert compare_trees(source, copy.destination) == []


def test_doing_it_again_moves_nothing(engine: Engine, copy: Copy) -> None:
    mx_experiment(Path(copy.source), "12282a", frames=4)
    assert transfer(engine, copy, Stop(), ignored).ok
    again = transfer(engine, copy, Stop(), ignored)
    assert (again.ok, again.files, again.bytes) == (True, 0, 0)


def test_only_what_differs_is_moved(engine: Engine, copy: Copy) -> None:
    source = Path(copy.source)
    mx_experiment(source, "12282a", frames=4)
    assert transfer(engine, copy, Stop(), ignored).ok
    (source / "new.h5").write_bytes(b"new")
    (copy.destination / ".info").write_bytes(b"damaged")
    again = transfer(engine, copy, Stop(), ignored)
    assert (again.ok, again.files) == (True, 2)
    assert compare_trees(source, copy.destination) == []


ODD_NAMES = (
    b"run[1].h5",
    b"a*b",
    b"what?",
    b"back\\slash",
    b"back\\slash*",
    b"# note",
    b"-x",
    b"!",
)


def test_what_is_replaced_is_kept_with_its_path_and_bytes(engine: Engine, copy: Copy) -> None:
    source = Path(copy.source)
    (source / "frames").mkdir()
    (source / "frames" / "a.h5").write_bytes(b"first")
    (source / "b.h5").write_bytes(b"stays")
    assert transfer(engine, copy, Stop(), ignored).ok
    old = (copy.destination / "frames" / "a.h5").stat()
    job = listed(engine.remote, copy)
    assert not job.replaced.parent.exists()  # nothing was replaced
    (source / "frames" / "a.h5").write_bytes(b"second, longer")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert (copy.destination / "frames" / "a.h5").read_bytes() == b"second, longer"
    (kept,) = (path for path in job.replaced.rglob("*") if path.is_file())
    assert kept == job.replaced / "frames" / "a.h5"
    assert kept.read_bytes() == b"first"
    assert kept.stat().st_mtime_ns // 10**9 == old.st_mtime_ns // 10**9
    assert job.replaced.parent.stat().st_mode & 0o007 == 0  # others do not get there


def test_what_people_changed_is_left_alone_whatever_its_name(engine: Engine, copy: Copy) -> None:
    source = Path(copy.source)
    for name in ODD_NAMES:
        (source / os.fsdecode(name)).write_bytes(b"theirs")
    (source / "run1.h5").write_bytes(b"fetched, though a pattern could match it")
    copy.destination.mkdir(parents=True)
    for name in ODD_NAMES:
        (copy.destination / os.fsdecode(name)).write_bytes(b"a week of work")
    job = listed(engine.remote, copy)
    assert isinstance(job.contents, Listed)
    others = [entry for entry in job.contents.entries if entry.path not in ODD_NAMES]
    job = replace(job, contents=Listed(others))
    assert engine.transfer(job, Stop(), ignored).ok
    for name in ODD_NAMES:
        assert (copy.destination / os.fsdecode(name)).read_bytes() == b"a week of work"
    assert (copy.destination / "run1.h5").read_bytes().startswith(b"fetched")
    assert not job.replaced.parent.exists()


def test_what_the_facility_does_not_have_is_left_alone(engine: Engine, copy: Copy) -> None:
    (Path(copy.source) / "frame.cbf").write_bytes(b"x")
    copy.destination.mkdir(parents=True)
    (copy.destination / "notes-of-the-group.txt").write_text("ours")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert (copy.destination / "notes-of-the-group.txt").read_text() == "ours"


@pytest.mark.extra
def test_a_file_of_more_than_four_gib_arrives_and_is_resumed(engine: Engine, copy: Copy) -> None:
    source = Path(copy.source)
    big_sparse_file(source / "image.sqfs")
    stop = Stop()

    def stop_in_the_middle(done: int, _files: int) -> None:
        if done > 2**28:
            stop.request()

    first = transfer(engine, copy, stop, stop_in_the_middle)
    assert (first.ok, first.stopped) == (False, True)
    assert not (copy.destination / "image.sqfs").exists()

    heard: list[int] = []
    second = transfer(engine, copy, Stop(), lambda done, _files: heard.append(done))
    assert second.ok
    assert heard == sorted(heard) and len(heard) > 3
    assert second.bytes is not None and second.bytes < 4 * 2**30
    assert compare_trees(source, copy.destination) == []


def test_another_process_that_works_on_the_copy_is_named_and_not_disturbed(
    engine: Engine, copy: Copy
) -> None:
    (Path(copy.source) / "a.h5").write_bytes(b"data")
    make_folders(copy)
    with Scratch(copy) as scratch:
        with pytest.raises(OSError, match=rf"process {os.getpid()} on .* works on this copy"):
            transfer(engine, copy, Stop(), ignored)
        assert [path.name for path in scratch.path.iterdir()] == ["lock"]
    assert transfer(engine, copy, Stop(), ignored).ok
    assert (copy.destination / "a.h5").read_bytes() == b"data"


def test_what_somebody_else_put_beside_the_data_stops_nothing(engine: Engine, copy: Copy) -> None:
    source = Path(copy.source)
    (source / "a.h5").write_bytes(b"first")
    assert transfer(engine, copy, Stop(), ignored).ok
    elsewhere = copy.project_folder / "elsewhere"
    elsewhere.mkdir()
    (copy.destination.parent / ".asynchy-data").symlink_to(elsewhere)
    (source / "a.h5").write_bytes(b"second, longer")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert (copy.destination / "a.h5").read_bytes() == b"second, longer"
    assert list(elsewhere.iterdir()) == []


def test_nothing_is_left_beside_the_data(engine: Engine, copy: Copy) -> None:
    mx_experiment(Path(copy.source), "12282a", frames=4)
    left = copy.destination.parent / ".asynchy-data"
    left.mkdir(parents=True)
    (left / ".image.sqfs.Ab12Cd").write_bytes(b"of a killed run")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert [path.name for path in copy.destination.parent.iterdir()] == ["data"]


def test_partial_files_of_what_vanished_go_and_nothing_else(
    engine: Engine, copy: Copy, place: Path
) -> None:
    (Path(copy.source) / "frame.cbf").write_bytes(b"x")
    partial = PARTIAL_DIR
    ours = [copy.destination / partial, copy.destination / "gone" / "deep" / partial]
    outside = place / "elsewhere"
    for folder in (*ours, outside / partial):
        folder.mkdir(parents=True)
        (folder / "image.sqfs").write_bytes(b"a part")
    (copy.destination / "link").symlink_to(outside)
    (copy.destination / "gone" / partial).symlink_to(outside)
    (copy.destination / "other").mkdir()
    (copy.destination / "other" / partial).write_text("a file of that name, not ours")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert not any(map(os.path.lexists, ours))
    assert (outside / partial / "image.sqfs").read_bytes() == b"a part"
    assert (copy.destination / "gone" / "deep").is_dir()
    assert (copy.destination / "gone" / partial).is_symlink()
    assert (copy.destination / "other" / partial).is_file()


def test_partial_files_stay_as_long_as_a_transfer_may_need_them(engine: Engine, copy: Copy) -> None:
    partial = copy.destination / PARTIAL_DIR / "image.sqfs"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"a part")
    (Path(copy.source) / "frame.cbf").write_bytes(b"x")
    job = listed(engine.remote, copy)
    shutil.rmtree(copy.source)
    assert not engine.transfer(job, Stop(), ignored).ok
    assert partial.read_bytes() == b"a part"


def test_the_project_folder_is_never_made(engine: Engine, copy: Copy) -> None:
    (Path(copy.source) / "frame.cbf").write_bytes(b"x")
    shutil.rmtree(copy.project_folder)
    with pytest.raises(FileNotFoundError):
        transfer(engine, copy, Stop(), ignored)
    assert not copy.project_folder.exists()


def test_a_source_that_has_gone_is_a_failure_with_a_reason(engine: Engine, copy: Copy) -> None:
    frame = Path(copy.source) / "frame.cbf"
    frame.write_bytes(b"x")
    job = listed(engine.remote, copy)
    shutil.rmtree(copy.source)
    result = engine.transfer(job, Stop(), ignored)
    assert not result.ok
    if engine.name == "rsync":
        assert result.reason == "there is no such folder at the facility"
    else:
        assert (result.reason, result.vanished) == ("it changed at the facility meanwhile", True)
    assert result.stderr


def test_a_server_that_is_not_there_is_a_failure_with_a_reason(
    own_facility: Facility, make_engine: MakeEngine, copy: Copy
) -> None:
    (Path(copy.source) / "frame.cbf").write_bytes(b"x")
    job = listed(remote_of(own_facility), copy)
    result = make_engine(remote_of(own_facility, port=9)).transfer(job, Stop(), ignored)
    assert (result.ok, result.lost) == (False, True)
    assert result.reason is not None
    assert "the server refused the connection" in result.reason
    assert result.hint


def test_asked_to_stop_before_it_begins_it_moves_nothing(engine: Engine, copy: Copy) -> None:
    (Path(copy.source) / "frame.cbf").write_bytes(b"x" * 10_000_000)
    stop = Stop()
    stop.request()
    result = transfer(engine, copy, stop, ignored)
    assert (result.ok, result.stopped) == (False, True)
    assert not (copy.destination / "frame.cbf").exists()


def test_a_link_out_of_the_experiment_brings_nothing(engine: Engine, copy: Copy) -> None:
    source = Path(copy.source)
    (source / "folder").symlink_to("/etc")
    (source / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert list(copy.destination.iterdir()) == []
