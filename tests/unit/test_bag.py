"""A bag's files: names as RFC 8493 and sha256sum(1) write them, all in place or none."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import bagit
import pytest

from asynchy.errors import ReceiptRefused
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.model.verification import CopyFile, Level
from asynchy.receipts.bag import Bag, name_in_manifest, place_beside, sha256sum_line

NOW = datetime.now(UTC)
EMPTY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def held(path: bytes) -> CopyFile:
    return CopyFile(path, 0, 10**9, Level.SIZE, NOW, EMPTY, None)


def copy_in(folder: Path, epn: str = "12282a") -> Copy:
    experiment = Experiment("mx", Epn(epn))
    return Copy(experiment, "ny79", f"/data/mx/{epn}", folder.parent, folder)


def made(folder: Path, copy: Copy, *paths: bytes) -> None:
    with Bag(folder, copy, "here") as bag:
        for path in paths:
            bag.add(held(path))
        bag.finish(b"{}", [("External-Identifier", copy.epn.text)], "1")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a b", "data/a b"),
        ("100%", "data/100%25"),
        ("%0A", "data/%250A"),
        ("new\nline\r", "data/new%0Aline%0D"),
        ("Zoë", "data/Zoë"),
    ],
)
def test_names_in_a_manifest(name: str, written: str) -> None:
    assert name_in_manifest(name) == written


def test_sha256sum_reads_what_no_manifest_can_name(tmp_path: Path) -> None:
    names = [b"\xff plain", b"\xff\nline", b"\xff\rreturn", b"\xff\\back", b"\xff\\n", b"\xff end "]
    (tmp_path / "data").mkdir()
    lines = b""
    for name in names:
        with open(bytes(tmp_path) + b"/data/" + name, "wb"):  # noqa: PTH123
            lines += sha256sum_line(EMPTY, name)
    (tmp_path / "list").write_bytes(lines)
    run = subprocess.run(["sha256sum", "-c", "--strict", "list"], cwd=tmp_path, check=False)
    assert run.returncode == 0


def test_where_a_receipt_lies() -> None:
    assert place_beside(Path("/p/ny79/1a/data")) == Path("/p/ny79/1a")
    assert place_beside(Path("/vault/1a")) == Path("/vault/1a.asynchy-receipt")


def test_one_that_is_not_finished_has_changed_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "x").touch()
    copy = copy_in(data)
    made(tmp_path, copy, b"x")
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    with pytest.raises(KeyError), Bag(tmp_path, copy, "here") as bag:
        bag.add(held(b"y"))
        raise KeyError
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == before
    bagit.Bag(str(tmp_path)).validate()


def test_what_a_crash_left_is_removed_by_the_next(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / ".asynchy-receipt").mkdir()
    (tmp_path / ".asynchy-receipt" / "bagit.txt").write_text("half")
    (tmp_path / "names-not-utf-8.sha256").write_text("of an earlier receipt")
    (tmp_path / "bag-info.txt").write_text(
        "Bag-Software-Agent: asynchy 0\nExternal-Identifier: 12282a\n"
    )
    made(tmp_path, copy_in(data))
    assert not (tmp_path / ".asynchy-receipt").exists()
    assert not (tmp_path / "names-not-utf-8.sha256").exists()
    bagit.Bag(str(tmp_path)).validate()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_has_our_name_for_files_on_their_way_stops_nothing(tmp_path: Path, kind: str) -> None:
    copy = copy_in(tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    planted = tmp_path / ".asynchy-receipt"
    if kind == "link":
        planted.symlink_to(tmp_path / "elsewhere")
    else:
        planted.write_text("mine")
    made(tmp_path, copy, b"a")
    assert (tmp_path / "bagit.txt").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert planted.is_symlink() or planted.read_text() == "mine"


def test_a_receipt_of_another_experiment_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    made(out, copy_in(tmp_path / "one"), b"x")
    made(out, copy_in(tmp_path / "one"), b"x")
    with pytest.raises(ReceiptRefused, match="of no receipt of 99a"):
        made(out, copy_in(tmp_path / "two", "99a"), b"x")
    assert "External-Identifier: 12282a" in (out / "bag-info.txt").read_text()


def test_below_the_project_folder_no_link_is_followed(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "ny79", tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    project.mkdir()
    (project / "12282a").symlink_to(elsewhere)
    experiment = Experiment("mx", Epn("12282a"))
    copy = Copy(experiment, "ny79", "/d", project, project / "12282a" / "data")
    with pytest.raises(NotADirectoryError):
        made(project / "12282a", copy, b"x")
    assert [path.name for path in elsewhere.iterdir()] == ["data"]
