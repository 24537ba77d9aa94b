"""The rsync engine: what rsync brings lies in a folder of ours, and is put in its place from there."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asynchy.engines import rsync_engine as engine_module
from asynchy.engines.rsync_engine import RsyncEngine
from asynchy.engines.staging import Staging
from asynchy.localfs.copy_tree import make_folders
from asynchy.model.attempt import EngineResult
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy
from asynchy.ssh.rsync import fetcher
from simulator.compare import compare_trees
from simulator.facility import Facility
from tests.contract.engines import by_sftp, ignored, listed, remote_of, transfer

TIME = 1_700_000_000


@pytest.fixture
def engine(own_facility: Facility) -> RsyncEngine:
    return RsyncEngine(remote_of(own_facility))


def asked(engine: RsyncEngine, **transfer_options: Any) -> RsyncEngine:
    return replace(engine, transfer_options=replace(engine.transfer_options, **transfer_options))


def write(path: Path, data: bytes, when: int = TIME) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (when, when))
    return path


def tree_of(copy: Copy) -> Path:
    return copy.destination.with_name(".asynchy-data") / "rsync" / "tree"


def kept(copy: Copy) -> dict[str, bytes]:
    folder = copy.destination.with_name("data.asynchy-replaced")
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class KilledError(Exception):
    """As if the process had been killed here: nothing is cleared up."""


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have a run die after so many rsyncs, before what they brought is placed."""

    def arrange(rsyncs: int) -> None:
        real, ran = Staging.flush, [0]

        def flush(staging: Staging) -> None:
            ran[0] += 1
            if ran[0] == rsyncs:
                monkeypatch.setattr(Staging, "flush", real)
                raise KilledError
            real(staging)

        monkeypatch.setattr(Staging, "flush", flush)

    return arrange


def cut_off(engine: RsyncEngine, copy: Copy) -> None:
    with pytest.raises(KilledError):
        transfer(engine, copy, Stop(), ignored)


def test_nobody_else_gets_to_what_rsync_writes(
    engine: RsyncEngine, copy: Copy, die: Callable[[int], None]
) -> None:
    write(Path(copy.source) / "frames" / "a.h5", b"measured")
    copy.project_folder.chmod(0o2777)
    die(1)
    cut_off(engine, copy)
    assert (tree_of(copy) / "frames" / "a.h5").read_bytes() == b"measured"
    assert not (copy.destination / "frames" / "a.h5").exists()
    for folder in (tree_of(copy).parents[1], tree_of(copy).parent, tree_of(copy)):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0


def test_what_was_fetched_whole_is_not_fetched_again(
    engine: RsyncEngine, copy: Copy, die: Callable[[int], None]
) -> None:
    source = Path(copy.source)
    for at in range(20):
        write(source / f"run {at % 3}" / f"{at}.h5", os.urandom(100_000))
    die(1)
    cut_off(engine, copy)
    heard: list[tuple[int, int]] = []
    write(source / "new.h5", b"new")
    again = transfer(engine, copy, Stop(), lambda *told: heard.append(told))
    assert (again.ok, again.files, again.bytes) == (True, 1, 3)
    assert heard[-1] == (2_000_003, 21)
    assert compare_trees(source, copy.destination) == []
    assert [path.name for path in copy.destination.parent.iterdir()] == ["data"]


def test_killed_between_two_bundles_it_fetches_only_what_is_missing(
    engine: RsyncEngine, copy: Copy, die: Callable[[int], None]
) -> None:
    source = Path(copy.source)
    for at in range(40):
        write(source / f"{at}.h5", os.urandom(3_000_000))
    engine = asked(engine, streams=2)
    die(4)
    cut_off(engine, copy)
    assert list(copy.destination.glob("*.h5"))
    again = transfer(engine, copy, Stop(), ignored)
    assert again.ok and again.bytes is not None
    assert again.bytes < 80_000_000
    assert compare_trees(source, copy.destination) == []


def test_what_was_left_and_is_of_no_use_goes(
    engine: RsyncEngine, copy: Copy, die: Callable[[int], None]
) -> None:
    source = Path(copy.source)
    for name in ("changed", "becomes a folder", "was a folder/a.h5", "vanished"):
        write(source / name, b"first")
    die(1)
    cut_off(engine, copy)
    shutil.rmtree(source)
    shutil.rmtree(copy.destination)
    write(source / "changed", b"second")
    write(source / "becomes a folder" / "a.h5", b"second")
    write(source / "was a folder", b"second")
    again = transfer(engine, copy, Stop(), ignored)
    assert (again.ok, again.reason, again.files) == (True, None, 3)
    assert compare_trees(source, copy.destination) == []
    assert [path.name for path in copy.destination.parent.iterdir()] == ["data"]


def test_after_a_crash_of_the_machine_what_was_fetched_is_compared(
    engine: RsyncEngine, copy: Copy, die: Callable[[int], None]
) -> None:
    data = os.urandom(1_000_000)
    source = write(Path(copy.source) / "a.h5", data)
    die(1)
    cut_off(engine, copy)
    (tree_of(copy).parent / "boot").write_text("another one")
    write(tree_of(copy) / "a.h5", data[:500_000] + bytes(500_000))  # never reached the disk
    again = transfer(engine, copy, Stop(), ignored)
    assert again.ok and again.bytes is not None
    assert 490_000 < again.bytes < 600_000
    assert (copy.destination / "a.h5").read_bytes() == source.read_bytes()


def test_the_sftp_engine_goes_on_where_rsync_was_cut_off(
    engine: RsyncEngine, copy: Copy, die: Callable[[int], None]
) -> None:
    write(Path(copy.source) / "a.h5", b"measured")
    die(1)
    cut_off(engine, copy)
    assert transfer(by_sftp(engine.remote), copy, Stop(), ignored).ok
    assert compare_trees(Path(copy.source), copy.destination) == []
    assert [path.name for path in copy.destination.parent.iterdir()] == ["data"]


def meanwhile(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Have something happen once an rsync has brought its files."""
    real = fetcher.fetch_files

    def fetch(*arguments: Any) -> EngineResult:
        result = real(*arguments)
        do()
        return result

    monkeypatch.setattr(fetcher, "fetch_files", fetch)


@pytest.mark.parametrize("restore", [False, True])
def test_an_edit_while_rsync_fetches(
    engine: RsyncEngine, copy: Copy, monkeypatch: pytest.MonkeyPatch, restore: bool
) -> None:
    write(Path(copy.source) / "a.h5", b"measured")
    write(Path(copy.source) / "b.h5", b"measured")
    records = {b"a.h5": (8, TIME)}
    job = replace(listed(engine.remote, copy, records), restore=restore)
    make_folders(copy)
    for name in ("a.h5", "b.h5"):  # of `b.h5` nothing is recorded
        path = copy.destination / name
        meanwhile(monkeypatch, lambda path=path: path.write_bytes(b"a week of work"))
    assert engine.transfer(job, Stop(), ignored).ok
    left = b"measured" if restore else b"a week of work"
    assert (copy.destination / "a.h5").read_bytes() == left
    assert (copy.destination / "b.h5").read_bytes() == b"measured"
    assert kept(copy).keys() == ({"a.h5", "b.h5"} if restore else {"b.h5"})
    assert [path.name for path in copy.destination.parent.glob(".*")] == []


def test_something_that_comes_in_the_way_while_rsync_fetches_stays(
    engine: RsyncEngine, copy: Copy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = write(Path(copy.source) / "frames" / "a.h5", b"measured").parent
    write(Path(copy.source) / "b.h5", b"measured")

    def swap() -> None:
        (copy.destination / "frames").rmdir()
        (copy.destination / "frames").symlink_to(tmp_path)

    meanwhile(monkeypatch, swap)
    result = transfer(engine, copy, Stop(), ignored)
    assert not result.ok
    assert f"frames/a.h5: {copy.destination}/frames: a symbolic link is in the way" in str(
        result.reason
    )
    assert list(tmp_path.iterdir()) == []
    (copy.destination / "frames").unlink()
    monkeypatch.undo()
    again = transfer(engine, copy, Stop(), ignored)
    assert (again.ok, again.bytes) == (True, 0)  # it had been fetched
    assert compare_trees(source.parent, copy.destination) == []


def test_what_is_at_home_is_the_basis_of_what_is_sent(engine: RsyncEngine, copy: Copy) -> None:
    data = bytearray(os.urandom(10_000_000))
    source = write(Path(copy.source) / "a.h5", data)
    assert transfer(engine, copy, Stop(), ignored).ok
    data[4_000_000:4_100_000] = os.urandom(100_000)
    write(source, data, TIME + 10)
    again = transfer(engine, copy, Stop(), ignored)
    assert again.ok and again.bytes is not None
    assert 100_000 <= again.bytes < 200_000
    assert (copy.destination / "a.h5").read_bytes() == data
    assert len(kept(copy)["a.h5"]) == 10_000_000


def test_comparing_checksums_fetches_a_flipped_byte(engine: RsyncEngine, copy: Copy) -> None:
    for at in range(5):
        write(Path(copy.source) / f"{at}.h5", b"measured %d " % at * 1000)
    engine = asked(engine, compare="checksum")
    assert transfer(engine, copy, Stop(), ignored).ok
    good = (copy.destination / "3.h5").read_bytes()
    bad = good[:50] + b"X" + good[51:]
    write(copy.destination / "3.h5", bad)
    records = {b"%d.h5" % at: (len(good), TIME) for at in range(5)}
    again = engine.transfer(listed(engine.remote, copy, records), Stop(), ignored)
    assert (again.ok, again.files) == (True, 1)
    assert (copy.destination / "3.h5").read_bytes() == good
    assert kept(copy) == {"3.h5": bad}
    assert transfer(asked(engine, compare="time"), copy, Stop(), ignored).files == 0


def test_a_server_that_goes_while_checksums_are_compared(
    engine: RsyncEngine, copy: Copy, own_facility: Facility
) -> None:
    write(Path(copy.source) / "a.h5", b"measured")
    engine = asked(engine, compare="checksum")
    assert transfer(engine, copy, Stop(), ignored).ok
    job = listed(engine.remote, copy)
    own_facility.stop_sshd()
    result = engine.transfer(job, Stop(), ignored)
    assert (result.ok, result.lost) == (False, True)
    assert result.reason == "the server refused the connection"


def linked(copy: Copy) -> Path:
    """An experiment with links and a FIFO."""
    source = Path(copy.source)
    write(source / "frames" / "a.h5", b"measured")
    write(source / "frames" / "empty", b"")
    (source / "latest").symlink_to("frames/a.h5")
    (source / "frames" / "back").symlink_to("../frames")
    (source / "out").symlink_to("/etc/passwd")
    os.mkfifo(source / "frames" / "pipe")
    return source


def test_links_and_special_files_come_if_asked_for(
    engine: RsyncEngine, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = linked(copy)
    real, results = fetcher.fetch_links, []

    def fetch_links(*arguments: Any) -> EngineResult:
        results.append(real(*arguments))
        return results[-1]

    monkeypatch.setattr(fetcher, "fetch_links", fetch_links)
    engine = asked(engine, symlinks=True, special_files=True)
    first = transfer(engine, copy, Stop(), ignored)
    assert (first.ok, first.files, first.bytes) == (True, 2, 8)
    assert [result.bytes for result in results] == [0]  # no file twice
    assert str((copy.destination / "latest").readlink()) == "frames/a.h5"
    assert str((copy.destination / "frames" / "back").readlink()) == "../frames"
    assert not (copy.destination / "out").is_symlink()  # it leads out of the experiment
    assert stat.S_ISFIFO((copy.destination / "frames" / "pipe").lstat().st_mode)
    assert [path.name for path in copy.destination.parent.iterdir()] == ["data"]

    (source / "latest").unlink()
    (source / "latest").symlink_to("frames/empty")
    assert transfer(engine, copy, Stop(), ignored).ok
    assert str((copy.destination / "latest").readlink()) == "frames/empty"
    folder = copy.destination.with_name("data.asynchy-replaced")
    links = [path for path in folder.rglob("*") if not path.is_dir()]
    assert [(path.name, str(path.readlink())) for path in links] == [("latest", "frames/a.h5")]


def test_without_being_asked_for_links_no_rsync_looks_for_them(
    engine: RsyncEngine, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked(copy)
    monkeypatch.setattr(engine_module.fetcher, "fetch_links", None)
    assert transfer(engine, copy, Stop(), ignored).ok
    assert not (copy.destination / "latest").is_symlink()


def test_what_a_person_has_in_the_place_of_a_link_stays(
    engine: RsyncEngine, copy: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    linked(copy)
    mine = write(copy.destination / "latest", b"mine")
    folder = write(copy.destination / "frames" / "back" / "notes", b"mine")
    write(copy.destination / "frames" / "pipe", b"mine")
    engine = asked(engine, symlinks=True, special_files=True)
    with caplog.at_level(logging.WARNING):
        result = transfer(engine, copy, Stop(), ignored)
    assert mine.read_bytes() == folder.read_bytes() == b"mine"
    assert (copy.destination / "frames" / "pipe").read_bytes() == b"mine"
    assert kept(copy) == {}
    named = sorted(record.getMessage() for record in caplog.records)
    assert named == [
        "frames/back: a folder is in the way; move it away",
        "frames/pipe: a file is in the way; move it away",
        "latest: a file is in the way; move it away",
    ]
    assert (result.ok, result.files) == (False, 2)
    assert str(result.reason).startswith("3 files could not be fetched, the first of them ")


def test_files_that_vanish_are_told_and_the_others_come(engine: RsyncEngine, copy: Copy) -> None:
    for name in ("a.h5", "b.h5", "c.h5"):
        write(Path(copy.source) / name, b"measured")
    job = listed(engine.remote, copy)
    (Path(copy.source) / "b.h5").unlink()
    result = engine.transfer(job, Stop(), ignored)
    assert (result.ok, result.vanished, result.exit_code, result.files) == (False, True, 24, 2)
    assert result.stderr == "1 file vanished at the facility"
    assert sorted(path.name for path in copy.destination.iterdir()) == ["a.h5", "c.h5"]
