from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchy.domain.experiment import AtHome, Entry, Kind, Survey
from asynchy.ssh.remote import prefer_fast
from asynchy.tree import Tree
from asynchy.verify.survey import Surveyor

NOW = datetime.now(UTC)


def entry(
    path: bytes = b"f", *, size: int = 3, modified: int = 1000, kind: Kind = Kind.FILE
) -> Entry:
    return Entry(kind, path, size, modified, 0o644)


def survey(folder: Path, *entries: Entry, size_only: bool = False) -> Survey:
    with contextlib.ExitStack() as stack:
        tree = stack.enter_context(Tree(folder)) if folder.is_dir() else None
        surveyor = Surveyor(tree, NOW, size_only=size_only)
        for one in entries:
            surveyor.add(one)
        return surveyor.result()


def test_what_is_at_home_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    os.utime(tmp_path / "f", ns=(1000 * 10**9 + 5, 1000 * 10**9 + 5))
    (tmp_path / "d").mkdir()
    found = survey(tmp_path, entry(), entry(b"d", kind=Kind.FOLDER), entry(b".", kind=Kind.FOLDER))
    assert (found.files, found.bytes, found.folders) == (1, 3, 2)
    assert (found.missing_files, found.missing_bytes, found.missing_folders) == (0, 0, 0)


@pytest.mark.parametrize("wrong", [entry(size=4), entry(modified=999), entry(b"g"), entry(b"f/x")])
def test_what_differs_is_missing(tmp_path: Path, wrong: Entry) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    os.utime(tmp_path / "f", (1000, 1000))
    found = survey(tmp_path, wrong)
    assert (found.missing_files, found.missing_bytes) == (1, wrong.size)


def test_by_size_alone_the_time_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert survey(tmp_path, entry(modified=1), size_only=True).missing_files == 0
    assert survey(tmp_path, entry(size=4), size_only=True).missing_files == 1


def test_something_of_another_kind_in_its_place_is_missing(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"abc")
    (tmp_path / "f").symlink_to("real")
    (tmp_path / "d").write_bytes(b"")
    (tmp_path / "e").mkdir()
    found = survey(tmp_path, entry(), entry(b"e", size=0), entry(b"d", kind=Kind.FOLDER))
    assert (found.missing_files, found.missing_folders) == (2, 1)


def test_links_and_special_files_are_counted_apart(tmp_path: Path) -> None:
    found = survey(tmp_path, entry(kind=Kind.SYMLINK), entry(kind=Kind.SPECIAL))
    assert (found.left_out, found.files, found.missing_files) == (2, 0, 0)


entries = st.lists(
    st.builds(
        Entry, st.sampled_from([Kind.FILE, Kind.FOLDER]), st.binary(min_size=1, max_size=5).filter(lambda b: b"\0" not in b),
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
    assert survey(folder, *found).fingerprint == survey(folder, *shuffled).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        [entry(b"g")],
        [entry(size=4)],
        [entry(modified=1)],
        [entry(kind=Kind.FOLDER)],
        [],
        [entry()] * 2,
    ],
)
def test_the_fingerprint_tells_listings_apart(tmp_path: Path, other: list[Entry]) -> None:
    assert survey(tmp_path, entry()).fingerprint != survey(tmp_path, *other).fingerprint


def test_a_folders_time_and_size_do_not_count(tmp_path: Path) -> None:
    one = survey(tmp_path, entry(kind=Kind.FOLDER))
    two = survey(tmp_path, entry(kind=Kind.FOLDER, size=9, modified=9))
    assert one.fingerprint == two.fingerprint


GCM = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]


@pytest.mark.parametrize(
    ("site", "built_in", "result"),
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
    site: list[str], built_in: list[str], result: list[str] | None
) -> None:
    assert prefer_fast(site, built_in) == result


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
    assert survey(tmp_path, entry()).missing_files == missing


@pytest.mark.parametrize("modified", [0, -1, -(2**31), 2**31, 2**33])
def test_times_far_away(tmp_path: Path, modified: int) -> None:
    at_home(tmp_path, b"f", 3, modified * SECOND)
    assert survey(tmp_path, entry(modified=modified)).missing_files == 0
    assert survey(tmp_path, entry(modified=modified + 1)).missing_files == 1


@pytest.mark.parametrize(
    "name", [b"caf\xe9", b"a\nb", b" x ", b"-rf", b"x" * 255, b".info", b"a\\b"]
)
def test_names_are_bytes(tmp_path: Path, name: bytes) -> None:
    at_home(tmp_path, name, 3, 1000 * SECOND)
    found = survey(tmp_path, entry(name), entry(b"d/" + name))
    assert (found.files, found.missing_files) == (2, 1)


def test_a_large_file_counts_whole(tmp_path: Path) -> None:
    at_home(tmp_path, b"f", 5 * 10**9, 1000 * SECOND)
    found = survey(tmp_path, entry(size=5 * 10**9), entry(b"g", size=7 * 10**12))
    assert (found.bytes, found.missing_bytes) == (7_005_000_000_000, 7_000_000_000_000)


def test_an_empty_file_is_missing_too(tmp_path: Path) -> None:
    found = survey(tmp_path, entry(size=0))
    assert (found.missing_files, found.missing_bytes) == (1, 0)


def test_a_copy_that_is_not_there_misses_everything(tmp_path: Path) -> None:
    found = survey(
        tmp_path / "none", entry(b".", kind=Kind.FOLDER), entry(), entry(b"d", kind=Kind.FOLDER)
    )
    assert (found.missing_files, found.missing_folders, found.missing_bytes) == (1, 2, 3)


@pytest.mark.parametrize("target", ["elsewhere", "nowhere", "f"])
def test_a_link_is_never_what_was_listed(tmp_path: Path, target: str) -> None:
    home = tmp_path / "home"
    for folder in (home, tmp_path / "elsewhere"):
        folder.mkdir()
    at_home(tmp_path / "elsewhere", b"f", 3, 1000 * SECOND)
    (home / "d").symlink_to(tmp_path / target)
    found = survey(home, entry(b"d", kind=Kind.FOLDER), entry(b"d", size=len(target)))
    assert (found.missing_folders, found.missing_files) == (1, 1)


def test_links_do_not_count_in_the_fingerprint(tmp_path: Path) -> None:
    more = [entry(b"l", kind=Kind.SYMLINK), entry(b"p", kind=Kind.SPECIAL)]
    assert survey(tmp_path, entry(), *more).fingerprint == survey(tmp_path, entry()).fingerprint


def test_what_is_at_home_does_not_count_in_the_fingerprint(tmp_path: Path) -> None:
    before = survey(tmp_path, entry()).fingerprint
    at_home(tmp_path, b"f", 3, 1000 * SECOND)
    assert survey(tmp_path, entry()).fingerprint == before
    assert survey(tmp_path, entry(), size_only=True).fingerprint == before


def test_two_files_that_swap_their_names_are_another_listing(tmp_path: Path) -> None:
    one = survey(tmp_path, entry(b"a", size=1), entry(b"b", size=2))
    two = survey(tmp_path, entry(b"a", size=2), entry(b"b", size=1))
    assert one.fingerprint != two.fingerprint
    assert (one.files, one.bytes) == (two.files, two.bytes)


@settings(max_examples=40)
@given(entries, entries)
def test_only_equal_listings_have_equal_fingerprints(
    tmp_path_factory: pytest.TempPathFactory, one: list[Entry], two: list[Entry]
) -> None:
    def facts(found: list[Entry]) -> list[tuple[object, ...]]:
        return sorted(
            (e.kind.value, e.path, e.size, e.modified) if e.kind is Kind.FILE else (e.kind.value, e.path)
            for e in found
        )  # fmt: skip

    folder = tmp_path_factory.getbasetemp() / "none"
    same = survey(folder, *one).fingerprint == survey(folder, *two).fingerprint
    assert same == (facts(one) == facts(two))


def test_the_listing_keeps_its_time(tmp_path: Path) -> None:
    assert survey(tmp_path).listed_at == NOW
    assert (survey(tmp_path).files, survey(tmp_path).missing_files) == (0, 0)


def test_what_a_person_changed_is_edited_while_the_facilitys_is_as_recorded(
    tmp_path: Path,
) -> None:
    (tmp_path / "f").write_bytes(b"a week of work")
    (tmp_path / "g").symlink_to("f")
    recorded = {b"f": (3, 1000), b"g": (3, 1000), b"h": (3, 1000)}
    tree = Tree(tmp_path)
    surveyor = Surveyor(tree, NOW, recorded=recorded.get)
    assert surveyor.add(entry(b"f")) is AtHome.EDITED
    assert surveyor.add(entry(b"f", size=4)) is AtHome.MISSING
    assert surveyor.add(entry(b"f", modified=1001)) is AtHome.MISSING
    assert surveyor.add(entry(b"g")) is AtHome.MISSING
    assert surveyor.add(entry(b"h")) is AtHome.MISSING
    found = surveyor.result()
    assert (found.files, found.edited_files, found.missing_files) == (5, 1, 4)
    assert Surveyor(tree, NOW, recorded={}.get).add(entry(b"f")) is AtHome.MISSING
    tree.close()
