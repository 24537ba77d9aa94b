"""Listed names for which home has one place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynchy.engines import name_collisions
from asynchy.engines.name_collisions import colliding_names
from asynchy.localfs.copy_tree import make_folders
from asynchy.localfs.safe_tree import SafeTree
from asynchy.localfs.same_place import SamePlace
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Entry, EntryKind, Experiment
from tests.contract.engines import Listed


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    copy = Copy(
        Experiment("mx", Epn("12282a")), "ny79", "/data/mx/12282a", tmp_path, tmp_path / "data"
    )
    make_folders(copy)
    with Scratch(copy) as made:
        yield made


def contents(*paths: bytes) -> Listed:
    """Folders end with a slash."""
    kinds = {path: EntryKind.FOLDER if path.endswith(b"/") else EntryKind.FILE for path in paths}
    return Listed([Entry(kind, path.rstrip(b"/"), 0, 0, 0) for path, kind in kinds.items()])


ALL = contents(
    b"Dir/", b"dir/", b"A", b"a", b"Dir/x", b"dir/x", b"dir/y", "stra\u00dfe".encode(), b"strasse",
    b"e\xcc\x81", "\u00e9".encode(), "E\u0301".encode(), b"\xff", b"other",
)  # fmt: skip


def test_where_names_are_kept_as_they_are_none_is_taken(scratch: Scratch) -> None:
    assert colliding_names(scratch, ALL) == {}
    assert "names" not in os.listdir(scratch.descriptor)


def test_of_two_names_of_one_place_the_second_is_taken(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upper(name: str | bytes) -> str:
        """NTFS: letter by letter, accents as they are."""
        text = os.fsdecode(name)
        return "".join(c.upper() if len(c.upper()) == 1 else c for c in text)

    def is_one(_trial: object, name: str | bytes, other: str | bytes) -> bool:
        return upper(name) == upper(other)

    monkeypatch.setattr(name_collisions._NameTrial, "is_one", is_one)
    accent = {b"e\xcc\x81": b"E\xcc\x81"}
    assert colliding_names(scratch, ALL) == {
        b"dir": b"Dir",
        b"a": b"A",
        b"dir/x": b"Dir/x",
        **accent,
    }
    monkeypatch.setattr(name_collisions._NameTrial, "is_one", lambda *_: True)  # as HFS+ has it
    found = colliding_names(scratch, ALL)
    assert found[b"e\xcc\x81"] == "E\u0301".encode()
    assert found["\u00e9".encode()] == "E\u0301".encode()


def test_what_has_arrived_keeps_its_place(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_one(_trial: object, name: bytes, other: bytes) -> bool:
        return name.lower() == other.lower()

    monkeypatch.setattr(name_collisions._NameTrial, "is_one", is_one)
    listed = contents(b"A.h5", b"B.h5", b"a.H5", b"a.h5", b"b.h5")
    listed.records[b"a.h5"] = (0, 0)
    found = colliding_names(scratch, listed)
    assert found == {b"A.h5": b"a.h5", b"a.H5": b"a.h5", b"b.h5": b"B.h5"}


class IgnoringCase(SafeTree):
    """A tree in which case does not matter, as far as a test needs it."""

    def find(self, path: bytes) -> os.stat_result | None:
        return super().find(path.lower())


class NumberingByName(SafeTree):
    """One in which a file has another number under each spelling of its name."""

    def find(self, path: bytes) -> os.stat_result | None:
        found = super().find(path.lower())
        return found and os.stat_result((found.st_mode, hash(path), *found[2:]))


def test_names_of_one_file_are_seen_where_files_are_numbered_by_name(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).write_text("a")
    with NumberingByName(tmp_path) as tree:
        seen = SamePlace(tree)
        found = [(path, tree.find(path)) for path in (b"A.h5", b"a.h5", b"b.h5", b"a.h5")]
        others = [seen.earlier_path(path, there) for path, there in found if there is not None]
    assert others == [None, b"A.h5", None, b"A.h5"]
    (tmp_path / "A.h5").write_text("another")
    with SafeTree(tmp_path) as tree:
        seen = SamePlace(tree)
        found = [(path, tree.find(path)) for path in (b"A.h5", b"a.h5")]
        assert [seen.earlier_path(path, there) for path, there in found if there is not None] == [
            None
        ] * 2


def test_names_that_lead_to_one_file_are_seen_and_hard_links_are_none(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.h5").write_text("a")
    (tmp_path / "frames" / "b.h5").hardlink_to(tmp_path / "frames" / "a.h5")
    paths = [b"frames", b"frames/a.h5", b"frames/b.h5", b"frames/A.h5", b"Frames", b"frames/a.h5"]

    def others(tree: SafeTree) -> list[bytes | None]:
        seen = SamePlace(tree)
        found = [(path, tree.find(path)) for path in paths]
        return [seen.earlier_path(path, there) for path, there in found if there is not None]

    with SafeTree(tmp_path) as tree:
        assert others(tree) == [None] * 4
    with IgnoringCase(tmp_path) as tree:
        assert others(tree) == [None, None, None, b"frames/a.h5", b"frames", None]


def test_accents_in_another_form_are_seen_where_names_are_ascii_otherwise(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("e")
    with SafeTree(tmp_path) as tree:
        found = tree.find(b"e")
        assert found is not None
        seen = SamePlace(tree)
        assert seen.earlier_path("\u00e9".encode(), found) is None
        assert seen.earlier_path(b"e\xcc\x81", found) == "\u00e9".encode()
