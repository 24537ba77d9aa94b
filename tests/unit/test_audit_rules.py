"""What an audit reads and what it makes of it: pure parts, and the reading of trees at home."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import resource
import tempfile
import time
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.errors import Stopped
from asynchy.localfs.file_hasher import HashResult, Reader, Throttle
from asynchy.localfs.file_listing import files_below
from asynchy.localfs.kept_files import MISMATCH, REPLACED, folder_beside
from asynchy.localfs.quarantine import Quarantine
from asynchy.localfs.safe_tree import SafeTree, own_folder_name, remove_tree
from asynchy.model.cancellation import Stop
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.verification import CopyFile, Damage
from asynchy.verification.audit_rules import AuditFinding, SamplePartition, finding, merged

NOW = datetime.now(UTC)
ONE, TWO = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()


def held(path: bytes, size: int = 3, modified: int = 10, sha256: bytes | None = None) -> CopyFile:
    return CopyFile(path, size, modified, None, NOW, sha256, None)


paths = st.sets(st.binary(min_size=1, max_size=3))


@given(paths, paths)
def test_what_should_be_there_and_what_is_meet_in_order(
    listed: set[bytes], there: set[bytes]
) -> None:
    pairs = list(merged(map(held, sorted(listed)), sorted(there)))
    found = [(file.path if file else None, path) for file, path in pairs]
    everything = sorted(listed | there)
    assert found == [
        (path if path in listed else None, path if path in there else None) for path in everything
    ]


@given(st.sets(st.binary(min_size=1), min_size=1), st.floats(0.5, 100))
def test_after_all_turns_each_file_was_read_once(names: set[bytes], percent: float) -> None:
    turns = SamplePartition.of_percent(percent, 0).of
    assert turns == max(1, round(100 / percent))
    read = [
        name
        for turn in range(turns)
        for name in names
        if SamplePartition.of_percent(percent, turn).takes(name)
    ]
    assert sorted(read) == sorted(names)
    assert SamplePartition.of_percent(percent, turns).turn == 0


@pytest.mark.parametrize(
    ("file", "sha256", "modified", "said"),
    [
        (held(b"a", sha256=ONE), ONE, 10, AuditFinding(None)),
        (held(b"a", sha256=ONE), ONE, 11, AuditFinding(None)),
        (held(b"a", sha256=ONE), TWO, 10, AuditFinding(Damage.CHANGED)),
        (held(b"a", sha256=ONE), None, 10, AuditFinding(Damage.EDITED)),
        (held(b"a", sha256=ONE), TWO, 11, AuditFinding(Damage.EDITED)),
        (held(b"a"), ONE, 10, AuditFinding(None, ONE)),
        (held(b"a"), ONE, 11, AuditFinding(Damage.EDITED)),
    ],
)
def test_what_the_bytes_say(
    file: CopyFile, sha256: bytes | None, modified: int, said: AuditFinding
) -> None:
    assert finding(file, sha256, modified) == said


names = st.binary(min_size=1, max_size=4).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)


@given(st.sets(st.lists(names, min_size=1, max_size=3).map(b"/".join), max_size=12))
def test_the_files_of_a_tree_come_in_the_order_of_their_paths(tree: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = set()
        for path in sorted(tree):
            full = Path(folder, os.fsdecode(path))
            try:
                full.parent.mkdir(parents=True, exist_ok=True)
                full.touch(exist_ok=False)
                made.add(path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
        with SafeTree(Path(folder)) as opened:
            errors: list[bytes] = []
            found = list(files_below(opened, lambda path, _: errors.append(path)))
        assert (found, errors) == (sorted(made), [])


def test_links_and_what_asynchy_leaves_are_no_files(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    copy = tmp_path / "data"
    (copy / ".asynchy-partial").mkdir(parents=True)
    (copy / ".asynchy-partial" / "x").write_text("x")
    (copy / "folder").symlink_to(outside)
    (copy / "link").symlink_to(outside / "secret")
    os.mkfifo(copy / "pipe")
    (copy / "file").write_text("x")
    with SafeTree(copy) as tree:
        assert list(files_below(tree, lambda *_: None)) == [b"file"]


def reader(root: Path, **options: object) -> Reader:
    values: dict[str, object] = {
        "stop": Stop(), "threads": 2, "throttle": Throttle(None), "cold": True,
        "on_bytes": lambda count: None, **options,
    }  # fmt: skip
    copy = Copy(Experiment("mx", Epn("12282a")), "ny79", "/data/mx/12282a", root.parent, root)
    return Reader(copy, **values)  # type: ignore[arg-type]


def test_files_are_read_in_order_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "deep").mkdir(parents=True)
    big = os.urandom(5_000_000)
    for name, data in (("a", b"one"), ("deep/b", b"two"), ("c", b"longer"), ("e", big)):
        (root / name).write_bytes(data)
        os.utime(root / name, (10, 10))
    (root / "linked").symlink_to(root / "a")
    (root / "away").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    there = [held(b"a"), held(b"deep/b"), held(b"e", len(big))]
    missing = [held(b"no"), held(b"linked"), held(b"away/data/a"), held(b"pipe"), held(b"folder")]
    count = [0]

    def hear(number: int) -> None:
        count[0] += number

    files = [*there, held(b"c"), *missing, *(held(b"a") for _ in range(200))]
    found = list(reader(root, threads=1, on_bytes=hear).read(files))
    assert [one.file for one in found] == files
    assert found[:3] == [
        HashResult(there[0], ONE, modified=10),
        HashResult(there[1], TWO, modified=10),
        HashResult(there[2], hashlib.sha256(big).digest(), modified=10),
    ]
    assert (found[3].damage, found[3].sha256) == (Damage.EDITED, None)
    assert [one.damage for one in found[4:9]] == [Damage.MISSING] * 5
    assert count[0] == 6 + len(big) + 200 * 3
    assert list(reader(root).read(files)) == found


def test_a_name_that_leads_out_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").write_text("one")
    with pytest.raises(ValueError, match="leads out"):
        list(reader(tmp_path / "data").read([held(b"../secret")]))


def test_reading_hears_a_stop(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(50_000_000))
    stop = Stop()
    seen: list[int] = []

    def hear(count: int) -> None:
        seen.append(count)
        stop.request()

    with pytest.raises(Stopped):
        list(reader(tmp_path, stop=stop, threads=1, on_bytes=hear).read([held(b"a", 50_000_000)]))
    assert len(seen) == 1


def test_a_file_that_grows_while_it_is_read_is_not_the_one_that_was_listed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(3 << 20))

    def grow(_count: int) -> None:
        with path.open("ab") as file:
            file.write(b"x")

    (found,) = reader(tmp_path, threads=1, on_bytes=grow).read([held(b"a", 3 << 20)])
    assert (found.sha256, found.damage) == (None, Damage.EDITED)


def test_reading_keeps_to_its_rate(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(2 << 20))
    began = time.monotonic()
    files = [held(name, 2 << 20) for name in (b"a", b"b")]
    list(reader(tmp_path, throttle=Throttle(4 << 20)).read(files))
    assert 0.5 < time.monotonic() - began < 30


def test_each_version_that_differs_is_kept_once_whatever_the_clock_says(tmp_path: Path) -> None:
    root = tmp_path / "data"
    copy = Copy(Experiment("mx", Epn("12282a")), "ny79", "/data/mx/12282a", tmp_path, root)
    deep = b"/".join([b"d" * 100] * 12)
    name = b"n" * 255
    file = held(deep + b"/" + name)

    def write(data: bytes) -> None:
        path = root / os.fsdecode(file.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def kept(ending: str) -> list[bytes]:
        found = sorted(folder_beside(copy, ending).glob("*"))
        trees = [SafeTree(folder) for folder in found]
        contents = []
        for tree in trees:
            descriptor = tree.open(file.path)
            contents.append(os.read(descriptor, 10))
            os.close(descriptor)
            tree.close()
        return contents

    root.mkdir()
    write(b"one")
    ahead = NOW + timedelta(days=400)
    with Quarantine(copy, ahead) as aside:
        assert (aside.remove_from_copy(file) or "").startswith("kept in ")
        assert aside.remove_from_copy(file) is None
    write(b"one")
    with Quarantine(copy, NOW) as again:
        assert again.remove_from_copy(file) == "an equal one is kept already"
    assert kept(MISMATCH) == [b"one"]
    write(b"two")
    with Quarantine(copy, NOW + timedelta(minutes=1)) as later:
        assert (later.remove_from_copy(file) or "").startswith("kept in ")
    assert sorted(kept(MISMATCH)) == [b"one", b"two"]
    # As it was proven: the facility's is another one now, and this one is an earlier version.
    write(b"good")
    proven = replace(file, sha256=hashlib.sha256(b"good").digest())
    with Quarantine(copy, NOW + timedelta(minutes=2)) as last:
        assert (last.remove_from_copy(proven) or "").startswith(
            "the facility's has other bytes now"
        )
    assert kept(REPLACED) == [b"good"]


@pytest.mark.extra
def test_a_tree_is_walked_however_deep_it_is_and_however_many_files_one_folder_has(
    tmp_path: Path,
) -> None:
    depth, many = 1500, 60_000
    root = tmp_path / "data"
    root.mkdir()
    descriptor = os.open(root, os.O_RDONLY)
    for number in range(many):
        os.close(os.open(f"{number * 7919 % many:06}", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)

    tracemalloc.start()
    with SafeTree(root) as tree:
        deepest = b"d/" * depth + b"last"
        names = [b"%06d" % number for number in range(many)]
        walked = files_below(tree, lambda *_: None)
        assert all(one == other for one, other in zip(walked, [*names, deepest], strict=True))
        del names
        found = tree.find(deepest)
        assert found is not None and found.st_size == 0
        descriptor = tree.open(deepest)
        os.close(descriptor)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 << 20

    above = os.open(tmp_path, os.O_RDONLY)
    remove_tree(above, "data")
    os.close(above)
    assert not root.exists()


def test_memory_does_not_grow_with_the_length_of_the_paths_of_a_deep_tree(tmp_path: Path) -> None:
    depth = 5000
    root = tmp_path / "data"
    root.mkdir()
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    above = os.open(tmp_path, os.O_RDONLY)
    try:
        with SafeTree(root) as tree:
            tracemalloc.start()
            assert sum(1 for _ in files_below(tree, lambda *_: None)) == depth
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    finally:  # pytest cannot remove a tree that deep
        remove_tree(above, "data")
        os.close(above)
    assert most < 6 << 20  # each path once: 25 MB


def test_trees_share_the_descriptors_that_a_process_may_have(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "f").write_text("x")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
    try:
        with contextlib.ExitStack() as stack:
            trees = [stack.enter_context(SafeTree(tmp_path)) for _ in range(60)]
            for number, tree in itertools.product(range(300), trees):
                assert tree.find(b"d%d/f" % number) is not None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_folder_of_ours_gets_another_name_where_something_else_has_it(tmp_path: Path) -> None:
    above = os.open(tmp_path, os.O_RDONLY)
    assert own_folder_name(above, "data.kept") == "data.kept"
    (tmp_path / "data.kept").symlink_to("/etc")
    other = own_folder_name(above, "data.kept")
    assert other.startswith("data.kept-") and other != own_folder_name(above, "data.kept")
    (tmp_path / other).mkdir()
    assert own_folder_name(above, "data.kept") == other
    (tmp_path / "data.kept").unlink()
    (tmp_path / "data.kept").mkdir()
    assert own_folder_name(above, "data.kept") == "data.kept"
    os.close(above)
