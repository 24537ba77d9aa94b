from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchy.localfs.free_space import block_for
from asynchy.localfs.listing_comparison import ListingComparer
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.epn import Epn
from asynchy.model.experiment import (
    Copy,
    DifferentCounts,
    Entry,
    EntryKind,
    Experiment,
    LeftOutCounts,
    ListingDiff,
    LocalState,
)
from asynchy.model.file_times import TIME_UNKNOWN
from asynchy.model.verification import Recorded
from asynchy.ssh.server import prefer_fast

NOW = datetime.now(UTC)


def entry(
    path: bytes = b"f", *, size: int = 3, modified: int = 1000, kind: EntryKind = EntryKind.FILE
) -> Entry:
    return Entry(kind, path, size, modified, 0o644)


def listing_diff(folder: Path, *entries: Entry, size_only: bool = False) -> ListingDiff:
    with contextlib.ExitStack() as stack:
        tree = stack.enter_context(SafeTree(folder)) if folder.is_dir() else None
        surveyor = ListingComparer(tree, NOW, size_only=size_only)
        for one in entries:
            surveyor.add(one)
        return surveyor.result()


def test_what_is_at_home_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    os.utime(tmp_path / "f", ns=(1000 * 10**9 + 5, 1000 * 10**9 + 5))
    (tmp_path / "d").mkdir()
    found = listing_diff(
        tmp_path, entry(), entry(b"d", kind=EntryKind.FOLDER), entry(b".", kind=EntryKind.FOLDER)
    )
    assert (found.files, found.bytes, found.folders) == (1, 3, 2)
    assert (found.missing_files, found.missing_bytes, found.missing_folders) == (0, 0, 0)


@pytest.mark.parametrize("wrong", [entry(size=4), entry(modified=999), entry(b"g"), entry(b"f/x")])
def test_what_differs_is_missing(tmp_path: Path, wrong: Entry) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    os.utime(tmp_path / "f", (1000, 1000))
    found = listing_diff(tmp_path, wrong)
    assert (found.missing_files, found.missing_bytes) == (1, wrong.size)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (entry(modified=1001), DifferentCounts(newer=1)),
        (entry(modified=1001, size=4), DifferentCounts(newer=1)),
        (entry(modified=999), DifferentCounts(changed=1)),
        (entry(size=4), DifferentCounts(resized=1)),
        (entry(b"g"), DifferentCounts()),
    ],
)
def test_a_file_that_is_not_as_listed_is_counted_by_what_tells_it_from_the_facilitys(
    tmp_path: Path, there: Entry, found: DifferentCounts
) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    os.utime(tmp_path / "f", (1000, 1000))
    listed = listing_diff(tmp_path, there, entry(b"h"))
    assert listed.different == found
    assert (listed.missing_files, listed.absent_files) == (2, 2 - found.files)


def test_by_size_alone_the_time_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert listing_diff(tmp_path, entry(modified=1), size_only=True).missing_files == 0
    assert listing_diff(tmp_path, entry(size=4), size_only=True).missing_files == 1


def test_each_missing_file_takes_whole_blocks(tmp_path: Path) -> None:
    surveyor = ListingComparer(None, NOW, block=4096)
    for at, size in enumerate((0, 1, 4096, 4097)):
        surveyor.add(entry(b"%d" % at, size=size))
    found = surveyor.result()
    assert (found.missing_bytes, found.missing_space) == (8194, 4 * 4096)


@pytest.mark.parametrize(("told", "block"), [(512, 512), (65_536, 65_536), (1 << 20, 4096), (0, 1)])
def test_blocks_are_those_of_the_destination_unless_it_tells_what_it_writes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int, block: int
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(f_frsize=told))
    experiment = Experiment("mx", Epn("12282a"))
    copy = Copy(experiment, "ny79", "/data/12282a", tmp_path, tmp_path / "12282a" / "data")
    assert block_for(copy) == block


def test_a_file_whose_time_sftp_does_not_tell_is_compared_by_size(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert listing_diff(tmp_path, entry(modified=TIME_UNKNOWN)).missing_files == 0
    assert listing_diff(tmp_path, entry(modified=TIME_UNKNOWN, size=4)).missing_files == 1
    # rsync tells the time of what arrived over SFTP; another one can be told by both
    with SafeTree(tmp_path) as tree:
        surveyor = ListingComparer(tree, NOW, recorded=lambda _path: Recorded(3, TIME_UNKNOWN))
        assert surveyor.add(entry(modified=-3600)) is LocalState.AS_LISTED
        assert surveyor.add(entry(modified=-3600, size=4)) is LocalState.MISSING
        assert surveyor.add(entry(modified=3600)) is LocalState.MISSING
        surveyor.add(entry(b"g", modified=TIME_UNKNOWN))
        assert (surveyor.timeless, surveyor.timeless_files) == (b"g", 1)


def test_something_of_another_kind_in_its_place_is_missing(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"abc")
    (tmp_path / "f").symlink_to("real")
    (tmp_path / "d").write_bytes(b"")
    (tmp_path / "e").mkdir()
    found = listing_diff(tmp_path, entry(), entry(b"e", size=0), entry(b"d", kind=EntryKind.FOLDER))
    assert (found.missing_files, found.missing_folders) == (2, 1)


def test_links_special_and_dot_files_are_left_out_unless_their_like_is_at_home(
    tmp_path: Path,
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"of a person")
    found = listing_diff(
        tmp_path,
        *(entry(name, kind=EntryKind.SYMLINK) for name in (b"link", b"pipe", b"gone")),
        *(entry(name, kind=EntryKind.SPECIAL) for name in (b"pipe", b"link", b"file")),
        entry(b"file", kind=EntryKind.DOT_FILE),
    )
    assert found.others == LeftOutCounts(dot_files=1, symlinks=3, special_files=3)
    assert found.left_out == LeftOutCounts(dot_files=1, symlinks=2, special_files=2)
    assert (found.files, found.missing_files) == (0, 0)


entries = st.lists(
    st.builds(
        Entry, st.sampled_from([EntryKind.FILE, EntryKind.FOLDER]), st.binary(min_size=1, max_size=5).filter(lambda b: b"\0" not in b),
        st.integers(0, 5), st.integers(0, 5),
    ), max_size=6,
)  # fmt: skip


@given(entries, st.randoms())
def test_the_fingerprint_does_not_depend_on_the_order(
    tmp_path_factory: pytest.TempPathFactory, found: list[Entry], chance: object
) -> None:
    folder = tmp_path_factory.getbasetemp() / "none"
    shuffled = list(found)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert listing_diff(folder, *found).fingerprint == listing_diff(folder, *shuffled).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        [entry(b"g")],
        [entry(size=4)],
        [entry(modified=1)],
        [entry(kind=EntryKind.FOLDER)],
        [],
        [entry()] * 2,
    ],
)
def test_the_fingerprint_tells_listings_apart(tmp_path: Path, other: list[Entry]) -> None:
    assert listing_diff(tmp_path, entry()).fingerprint != listing_diff(tmp_path, *other).fingerprint


def test_a_folders_time_and_size_do_not_count(tmp_path: Path) -> None:
    one = listing_diff(tmp_path, entry(kind=EntryKind.FOLDER))
    two = listing_diff(tmp_path, entry(kind=EntryKind.FOLDER, size=9, modified=9))
    assert one.fingerprint == two.fingerprint


GCM = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]


@pytest.mark.parametrize(
    ("context", "built_in", "result"),
    [
        (
            ["chacha", "aes128-ctr", *GCM],
            ["chacha", "aes128-ctr", *GCM],
            [*GCM, "chacha", "aes128-ctr"],
        ),
        (["aes256-ctr"], ["chacha", *GCM], None),
        (["chacha"], ["chacha"], None),
        (["chacha", GCM[1]], ["chacha", GCM[1]], [GCM[1], "chacha"]),
        ([], [], None),
    ],
)
def test_the_ciphers_that_are_asked_for(
    context: list[str], built_in: list[str], result: list[str] | None
) -> None:
    assert prefer_fast(context, built_in) == result


def at_home(folder: Path, name: bytes, size: int, modified_ns: int) -> None:
    path = folder / os.fsdecode(name)
    with path.open("wb") as file:
        file.truncate(size)
    os.utime(path, ns=(modified_ns, modified_ns))


SECOND = 10**9


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (1000 * SECOND, 0), (1000 * SECOND + 999_999_999, 0), (1000 * SECOND - 1, 1), (1001 * SECOND, 1),
    ],
)  # fmt: skip
def test_times_are_compared_in_whole_seconds(tmp_path: Path, there: int, missing: int) -> None:
    at_home(tmp_path, b"f", 3, there)
    assert listing_diff(tmp_path, entry()).missing_files == missing


@pytest.mark.parametrize("modified", [0, -1, -(2**31), 2**31, 2**33])
def test_times_far_away(tmp_path: Path, modified: int) -> None:
    at_home(tmp_path, b"f", 3, modified * SECOND)
    assert listing_diff(tmp_path, entry(modified=modified)).missing_files == 0
    assert listing_diff(tmp_path, entry(modified=modified + 1)).missing_files == 1


@pytest.mark.parametrize(
    "name", [b"caf\xe9", b"a\nb", b" x ", b"-rf", b"x" * 255, b".info", b"a\\b"]
)
def test_names_are_bytes(tmp_path: Path, name: bytes) -> None:
    at_home(tmp_path, name, 3, 1000 * SECOND)
    found = listing_diff(tmp_path, entry(name), entry(b"d/" + name))
    assert (found.files, found.missing_files) == (2, 1)


def test_a_large_file_counts_whole(tmp_path: Path) -> None:
    at_home(tmp_path, b"f", 5 * 10**9, 1000 * SECOND)
    found = listing_diff(tmp_path, entry(size=5 * 10**9), entry(b"g", size=7 * 10**12))
    assert (found.bytes, found.missing_bytes) == (7_005_000_000_000, 7_000_000_000_000)


def test_an_empty_file_is_missing_too(tmp_path: Path) -> None:
    found = listing_diff(tmp_path, entry(size=0))
    assert (found.missing_files, found.missing_bytes) == (1, 0)


def test_a_copy_that_is_not_there_misses_everything(tmp_path: Path) -> None:
    found = listing_diff(
        tmp_path / "none",
        entry(b".", kind=EntryKind.FOLDER),
        entry(),
        entry(b"d", kind=EntryKind.FOLDER),
    )
    assert (found.missing_files, found.missing_folders, found.missing_bytes) == (1, 2, 3)


@pytest.mark.parametrize("target", ["elsewhere", "nowhere", "f"])
def test_a_link_is_never_what_was_listed(tmp_path: Path, target: str) -> None:
    home = tmp_path / "home"
    for folder in (home, tmp_path / "elsewhere"):
        folder.mkdir()
    at_home(tmp_path / "elsewhere", b"f", 3, 1000 * SECOND)
    (home / "d").symlink_to(tmp_path / target)
    found = listing_diff(home, entry(b"d", kind=EntryKind.FOLDER), entry(b"d", size=len(target)))
    assert (found.missing_folders, found.missing_files) == (1, 1)


def test_links_do_not_count_in_the_fingerprint(tmp_path: Path) -> None:
    more = [entry(b"l", kind=EntryKind.SYMLINK), entry(b"p", kind=EntryKind.SPECIAL)]
    assert (
        listing_diff(tmp_path, entry(), *more).fingerprint
        == listing_diff(tmp_path, entry()).fingerprint
    )


def test_what_is_at_home_does_not_count_in_the_fingerprint(tmp_path: Path) -> None:
    before = listing_diff(tmp_path, entry()).fingerprint
    at_home(tmp_path, b"f", 3, 1000 * SECOND)
    assert listing_diff(tmp_path, entry()).fingerprint == before
    assert listing_diff(tmp_path, entry(), size_only=True).fingerprint == before


def test_two_files_that_swap_their_names_are_another_listing(tmp_path: Path) -> None:
    one = listing_diff(tmp_path, entry(b"a", size=1), entry(b"b", size=2))
    two = listing_diff(tmp_path, entry(b"a", size=2), entry(b"b", size=1))
    assert one.fingerprint != two.fingerprint
    assert (one.files, one.bytes) == (two.files, two.bytes)


@settings(max_examples=40)
@given(entries, entries)
def test_only_equal_listings_have_equal_fingerprints(
    tmp_path_factory: pytest.TempPathFactory, one: list[Entry], two: list[Entry]
) -> None:
    def facts(found: list[Entry]) -> list[tuple[object, ...]]:
        return sorted(
            (e.kind.value, e.path, e.size, e.modified) if e.kind is EntryKind.FILE else (e.kind.value, e.path)
            for e in found
        )  # fmt: skip

    folder = tmp_path_factory.getbasetemp() / "none"
    same = listing_diff(folder, *one).fingerprint == listing_diff(folder, *two).fingerprint
    assert same == (facts(one) == facts(two))


def test_the_listing_keeps_its_time(tmp_path: Path) -> None:
    assert listing_diff(tmp_path).listed_at == NOW
    assert (listing_diff(tmp_path).files, listing_diff(tmp_path).missing_files) == (0, 0)


def test_what_a_person_changed_is_edited_while_the_facilitys_is_as_recorded(
    tmp_path: Path,
) -> None:
    (tmp_path / "f").write_bytes(b"a week of work")
    (tmp_path / "g").symlink_to("f")
    recorded = {name: Recorded(3, 1000) for name in (b"f", b"g", b"h")}
    tree = SafeTree(tmp_path)
    surveyor = ListingComparer(tree, NOW, recorded=recorded.get)
    assert surveyor.add(entry(b"f")) is LocalState.EDITED
    assert surveyor.add(entry(b"f", size=4)) is LocalState.MISSING
    assert surveyor.add(entry(b"f", modified=1001)) is LocalState.MISSING
    assert surveyor.add(entry(b"g")) is LocalState.EDITED
    assert surveyor.add(entry(b"h")) is LocalState.MISSING
    found = surveyor.result()
    assert (found.files, found.edited_files, found.missing_files) == (5, 2, 3)
    assert ListingComparer(tree, NOW, recorded={}.get).add(entry(b"f")) is LocalState.MISSING
    tree.close()
