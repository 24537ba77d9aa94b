"""compare_trees finds what rsync would have done wrong, and nothing else."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.compare import compare_trees, mode_at_home
from simulator.experiments import awkward_names, big_sparse_file, mx_experiment


@pytest.fixture
def trees(place: Path) -> tuple[Path, Path]:
    """An experiment, and its copy as rsync makes it."""
    source, copy = place / "source", place / "copy"
    mx_experiment(source, "12282a", frames=4, frame_bytes=1000)
    awkward_names(source)
    fetch(source, copy)
    return source, copy


def fetch(source: Path, copy: Path) -> None:
    chmod = "--chmod=Dg+s,ug+w,o-wx,ug+X,u-s,Fg-s,-t"
    filters = ["--include=.info", "--exclude=.*"]
    subprocess.run(
        ["rsync", "-r", "--times", "--perms", chmod, *filters, f"{source}/", f"{copy}/"],
        check=True, capture_output=True,
    )  # fmt: skip


def test_a_copy_by_rsync_is_equal(trees: tuple[Path, Path]) -> None:
    assert compare_trees(*trees) == []


def flip_a_bit(copy: Path) -> Path:
    path = copy / "frames/ada/lysozyme 1/lyso_1_0001.cbf"
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return path


def cut_short(copy: Path) -> Path:
    path = copy / ".info"
    os.truncate(path, 10)
    return path


def remove(copy: Path) -> Path:
    path = copy / "frames/.info"
    keeping_the_time_of(path.parent, path.unlink)
    return path


def remove_an_empty_folder(copy: Path) -> Path:
    path = copy / "home/ada/empty folder"
    keeping_the_time_of(path.parent, path.rmdir)
    return path


def add(copy: Path) -> Path:
    path = copy / "frames/.asynchy-partial"
    keeping_the_time_of(path.parent, path.touch)
    return path


def add_a_link(copy: Path) -> Path:
    path = copy / "home/ada/inside"
    keeping_the_time_of(path.parent, lambda: path.symlink_to("empty.txt"))
    return path


def change_the_mode(copy: Path) -> Path:
    path = copy / ".info"
    path.chmod(stat.S_IMODE(path.stat().st_mode) ^ 0o020)
    return path


def change_the_mode_of_a_folder(copy: Path) -> Path:
    path = copy / "frames"
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~stat.S_ISGID)
    return path


def change_the_time(copy: Path) -> Path:
    path = copy / "frames/.info"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    return path


def change_the_time_of_a_folder(copy: Path) -> Path:
    path = copy / "frames"
    os.utime(path)
    return path


def make_a_file_a_folder(copy: Path) -> Path:
    path = copy / "frames/.info"

    def replace() -> None:
        path.unlink()
        path.mkdir()

    keeping_the_time_of(path.parent, replace)
    return path


def keeping_the_time_of(folder: Path, change: Callable[[], object]) -> None:
    """What changes a folder's entries changes its time, too; here only one is to differ."""
    before = folder.stat().st_mtime_ns
    change()
    os.utime(folder, ns=(before, before))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (flip_a_bit, "other bytes"),
        (cut_short, "bytes there, 10 here"),
        (remove, "missing"),
        (remove_an_empty_folder, "missing"),
        (add, "not in the source"),
        (add_a_link, "not in the source"),
        (change_the_mode, "mode "),
        (change_the_mode_of_a_folder, "mode "),
        (change_the_time, "modified at"),
        (change_the_time_of_a_folder, "modified at"),
        (make_a_file_a_folder, "of another kind"),
    ],
)
def test_one_difference_is_found_and_named(
    trees: tuple[Path, Path], change: Callable[[Path], Path], word: str
) -> None:
    source, copy = trees
    changed = change(copy)
    (line,) = compare_trees(source, copy)
    assert word in line
    assert ascii(str(changed.relative_to(copy))) in line


def test_modes_can_be_left_out(trees: tuple[Path, Path]) -> None:
    source, copy = trees
    change_the_mode(copy)
    change_the_mode_of_a_folder(copy)
    assert len(compare_trees(source, copy)) == 2
    assert compare_trees(source, copy, modes=False) == []


def test_sub_seconds_do_not_count(trees: tuple[Path, Path]) -> None:
    source, copy = trees
    os.utime(copy / ".info", ns=(0, (source / ".info").stat().st_mtime_ns + 999_999_999))
    assert compare_trees(source, copy) == []


def test_names_are_escaped(trees: tuple[Path, Path]) -> None:
    source, copy = trees
    shutil.rmtree(os.fsencode(copy / "awkward"))
    lines = compare_trees(source, copy)
    assert len(lines) > 30
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_a_tree_that_is_not_there_is_a_difference(place: Path) -> None:
    (place / "there").mkdir()
    assert compare_trees(place / "nowhere", place / "nowhere, too") != []
    assert compare_trees(place / "there", place / "nowhere") != []
    assert compare_trees(place / "nowhere", place / "there") != []


@pytest.mark.parametrize("at", [0, 2 * 2**30, 3 * 2**30, 4 * 2**30 + 4096])
def test_four_gib_of_holes_are_compared_in_seconds(place: Path, at: int) -> None:
    for tree in ("source", "copy"):
        (place / tree).mkdir()
        big_sparse_file(place / tree / "image.sqfs")
        os.utime(place / tree, ns=(0, 0))
    (place / "copy/image.sqfs").chmod(0o664)
    began = time.process_time()  # whoever else is busy does not count
    assert compare_trees(place / "source", place / "copy", modes=False) == []
    with (place / "copy/image.sqfs").open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(place / "copy/image.sqfs", ns=(0, (place / "source/image.sqfs").stat().st_mtime_ns))
    (line,) = compare_trees(place / "source", place / "copy", modes=False)
    assert "other bytes" in line
    assert time.process_time() - began < 5


def test_a_file_system_that_does_not_tell_its_holes_is_read_throughout(
    trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "no SEEK_DATA here")

    monkeypatch.setattr(os, "lseek", refuse)
    assert compare_trees(*trees) == []
    flip_a_bit(trees[1])
    assert len(compare_trees(*trees)) == 1


def test_the_modes_are_those_of_rsync(place: Path) -> None:
    """Every mode that its owner can read: more cannot be fetched."""
    source, copy = place / "source", place / "copy"
    source.mkdir()
    for bits in range(0o10000):
        if bits & 0o400:
            (source / f"file {bits:o}").touch()
            (source / f"file {bits:o}").chmod(bits)
        if bits & 0o500 == 0o500:
            (source / f"folder {bits:o}").mkdir()
            (source / f"folder {bits:o}").chmod(bits)
    fetch(source, copy)
    wrong = []
    for path in source.iterdir():
        found = stat.S_IMODE((copy / path.name).lstat().st_mode)
        if mode_at_home(path.lstat().st_mode) != found:
            wrong.append((path.name, oct(found)))
    assert wrong == []
