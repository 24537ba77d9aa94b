"""Files that take the place of others at home."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Copy, Experiment
from asynchy.kept_files import KeptFolder
from asynchy.transfer import home
from asynchy.transfer.home import Home, Scratch, make_folders
from asynchy.tree import Tree


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    project = tmp_path / "ny79"
    project.mkdir()
    found = Copy(
        Experiment("mx", Epn("12282a")), "ny79", "/data/mx/12282a", project,
        project / "12282a" / "data",
    )  # fmt: skip
    make_folders(found)
    (found.destination / "frames").mkdir()
    (found.destination / "frames" / "a.h5").write_text("old")
    return found


def placed(copy: Copy) -> dict[str, str]:
    """Put a newer file in its place; what is kept then, by path."""
    kept = copy.destination.with_name("data.asynchy-replaced") / "20261124T120000Z"
    with Scratch(copy) as scratch, Home(copy, kept) as tree:
        (scratch.path / "0-1").write_text("new")
        tree.place(scratch.descriptor, "0-1", b"frames/a.h5")
        assert not (scratch.path / "0-1").exists()
    return {
        str(path.relative_to(kept)): path.read_text() for path in kept.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("exchange", [True, False])
def test_what_is_replaced_is_kept_once(
    copy: Copy, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(home, "_renameat2", None)
    assert placed(copy) == {"frames/a.h5": "old"}
    assert (copy.destination / "frames" / "a.h5").read_text() == "new"


def test_what_a_person_saves_while_it_is_replaced_is_kept_too(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = KeptFolder.link

    def link_and_save(self: KeptFolder, tree: Tree, path: bytes) -> int | None:
        linked = link(self, tree, path)
        saved = copy.destination / "frames" / "saved"
        saved.write_text("a week of work")
        saved.replace(copy.destination / "frames" / "a.h5")
        return linked

    monkeypatch.setattr(KeptFolder, "link", link_and_save)
    assert placed(copy) == {"frames/a.h5": "old", "frames/a.h5.2": "a week of work"}
    assert (copy.destination / "frames" / "a.h5").read_text() == "new"


def test_a_file_that_is_new_at_home_needs_nothing_kept(copy: Copy) -> None:
    (copy.destination / "frames" / "a.h5").unlink()
    assert placed(copy) == {}
    assert (copy.destination / "frames" / "a.h5").read_text() == "new"
