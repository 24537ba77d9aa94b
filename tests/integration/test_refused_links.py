"""Links and special files that home does not take: each is named, and all else comes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Home, give
from tests.integration.test_lost_links import KEYS, asynchy, brought, deletable

NO_PERMISSION = "no permission to write at the destination (EACCES)"
FOLDERS = ("A", "B", "C", "D")


def fetch(home: Home, *, code: int) -> str:
    """Fetch the experiment again; why it stays due."""
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    give(home.place / "ignore.yml")
    run = home.once()
    assert run.returncode == code, run.stdout + run.stderr
    (row,) = home.status("12282a")
    return str(row["last"]["reason"])


def there(copy: Path) -> list[str]:
    return [name for name in FOLDERS if os.path.lexists(copy / name / "link")]


@pytest.fixture
def copy(home: Home) -> Path:
    """A copy that is complete, of an experiment that has more links since."""
    source = home.facility.experiment("mx", "12282a")
    (source / "a").write_text("a")
    give(source)
    home.configure(**KEYS)
    home.visit("12282a")
    assert home.once().returncode == 0
    for name in FOLDERS:
        (source / name).mkdir()
        (source / name / "link").symlink_to("../a")
    (source / "new").write_text("new")
    give(source)
    return home.copy("12282a")


def test_a_link_whose_target_is_too_long_is_named_and_the_others_come(
    home: Home, copy: Path
) -> None:
    source = home.facility.data / "mx" / "12282a"
    (source / "B" / "link").unlink()
    (source / "B" / "link").symlink_to("./" * 2045 + "../a")
    give(source)
    reason = fetch(home, code=1)
    assert reason == (
        "1 file could not be fetched, the first of them B/link: "
        "rsync cannot fetch a link whose target has more than 4,080 bytes"
    )
    assert there(copy) == ["A", "C", "D"] and (copy / "new").read_text() == "new"


def test_a_closed_folder_at_home_costs_its_own_link_alone(home: Home, copy: Path) -> None:
    (copy / "C").mkdir()
    give(copy)
    (copy / "C").chmod(0o500)
    expected = f"1 file could not be fetched, the first of them C/link: {NO_PERMISSION}"
    assert fetch(home, code=1) == expected
    assert there(copy) == ["A", "B", "D"] and (copy / "new").read_text() == "new"
    (row,) = home.status("12282a")
    assert (row["last"]["files"], row["last"]["bytes"]) == (1, 3)
    assert "make its folder at home writable for the user that runs asynchy" in home.log

    (copy / "A" / "link").unlink()
    told = asynchy(home, "verify", "12282a", "--level", "size", code=1)
    assert expected in told
    assert there(copy) == ["A", "B", "D"]

    (copy / "C").chmod(0o700)
    asynchy(home, "verify", "12282a", "--level", "size", code=0)
    assert there(copy) == list(FOLDERS)


def test_a_closed_folder_at_home_hides_no_lost_link_of_another_from_audit(
    home: Home, copy: Path
) -> None:
    (copy / "A").mkdir()
    give(copy)
    assert fetch(home, code=0) == "None"
    (copy / "D" / "link").unlink()
    (copy / "A").chmod(0)
    audited = asynchy(home, "audit", code=1)
    (copy / "A").chmod(0o700)
    assert "not readable (Permission denied): A/link" in audited
    assert "a link or special file that is missing: D/link" in audited
    assert "1 missing" in audited and "1 file could not be read" in audited
    assert not deletable(home, 0)[0]


def test_what_is_in_the_place_of_a_lost_link_is_named_until_it_is_moved_away(home: Home) -> None:
    copy = brought(home)
    (copy / "latest").unlink()
    (copy / "latest").write_text("mine")
    (copy / "dangling").unlink()
    (copy / "dangling").mkdir()
    (copy / "pipe").unlink()
    give(copy)
    audited = asynchy(home, "audit", code=1)
    place = "something else in the place of a link or special file"
    assert f"{place}; move it away, then `verify`: dangling latest" in audited
    told = asynchy(home, "verify", "12282a", "--level", "size", code=1)
    assert "due: 2 files could not be fetched" in told
    assert "dangling: a folder is in the way; move it away" in home.log
    assert "latest: a file is in the way; move it away" in home.log
    assert (copy / "latest").read_text() == "mine" and (copy / "pipe").is_fifo()
    assert "is in the way; move it away" in asynchy(home, "status", "12282a", code=0)
    assert not deletable(home, 0)[0]

    (copy / "latest").rename(copy / "latest-mine")
    (copy / "dangling").rmdir()
    asynchy(home, "verify", "12282a", "--level", "size", code=0)
    assert (copy / "latest").readlink() == Path("a") and (copy / "dangling").is_symlink()
    assert deletable(home, 0)[0]
