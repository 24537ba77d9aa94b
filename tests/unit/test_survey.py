from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.domain.experiment import Entry, Kind, Survey
from asynchy.ssh.remote import prefer_fast
from asynchy.verify.survey import Surveyor

NOW = datetime.now(UTC)


def entry(
    path: bytes = b"f", *, size: int = 3, modified: int = 1000, kind: Kind = Kind.FILE
) -> Entry:
    return Entry(kind, path, size, modified)


def survey(folder: Path, *entries: Entry, size_only: bool = False) -> Survey:
    surveyor = Surveyor(folder, NOW, size_only=size_only)
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
    folder = tmp_path_factory.getbasetemp()
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
