"""Links and special files that came home and are lost there: found, named, brought again."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Home, give

KEYS: dict[str, Any] = {
    "symlinks": True, "special_files": True, "recheck_after": 0, "proof_for_deletion": "size",
}  # fmt: skip


def brought(home: Home) -> Path:
    """An experiment with links and a pipe, at home; its copy."""
    source = home.facility.experiment("mx", "12282a")
    for name in ("a", "b"):
        (source / name).write_text(name)
    (source / "latest").symlink_to("a")
    (source / "dangling").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    give(source)
    home.configure(**KEYS)
    home.visit("12282a")
    run = home.once()
    assert run.returncode == 0, run.stdout + run.stderr
    return home.copy("12282a")


def asynchy(home: Home, *arguments: str, code: int) -> str:
    run = home.program.run("asynchy", "--config", home.config, *arguments)
    assert run.returncode == code, run.stdout + run.stderr
    return " ".join(run.stdout.split())


def deletable(home: Home, code: int) -> tuple[bool, str]:
    run = home.program.run(
        "asynchy", "--config", home.config, "report", "reconcile", "--format", "json"
    )
    assert run.returncode == code, run.stdout + run.stderr
    (row,) = json.loads(run.stdout)
    return row["may_be_deleted"], row["why"]


def lose(copy: Path, name: str, to: str | None) -> None:
    (copy / name).unlink()
    if to is not None:
        (copy / name).symlink_to(to)
        os.chown(copy / name, (copy / "a").stat().st_uid, -1, follow_symlinks=False)


def test_lost_links_that_no_audit_has_found_yet_keep_the_facilitys_from_being_deletable(
    home: Home,
) -> None:
    copy = brought(home)
    assert deletable(home, 0)[0]
    (copy / "latest").unlink()
    (copy / "pipe").unlink()
    may, why = deletable(home, 0)
    assert not may
    assert why.startswith("2 links or special files are missing at home, or different"), why


def test_what_the_config_no_longer_brings_is_left_out_and_not_lost(home: Home) -> None:
    copy = brought(home)
    (copy / "latest").unlink()
    asynchy(home, "audit", code=1)
    home.configure(**{**KEYS, "symlinks": False})
    asynchy(home, "verify", "12282a", "--level", "size", code=0)
    said = asynchy(home, "status", code=0)
    assert "missing or changed" not in said
    assert home.once().returncode == 0
    may, why = deletable(home, 0)
    assert (may, "left out" in why) == (False, True)


MISSING = "a link or special file that is missing"
ELSEWHERE = "a link that leads elsewhere now"


@pytest.mark.parametrize(
    ("name", "to", "what"),
    [("latest", None, MISSING), ("latest", "b", ELSEWHERE), ("pipe", None, MISSING)],
)
def test_a_link_that_is_lost_at_home_is_named_until_verify_brings_it_again(
    home: Home, name: str, to: str | None, what: str
) -> None:
    copy = brought(home)
    assert "nothing wrong" in asynchy(home, "audit", code=0)
    assert deletable(home, 0)[0]
    lose(copy, name, to)
    audited = asynchy(home, "audit", code=1)
    assert "1 missing" in audited and f"12282a, {what}:" in audited
    assert f"12282a: {what}: {name}" in home.log
    said = "1 link or special file missing or changed at home"
    assert f"{said}; `asynchy verify` repairs that" in asynchy(home, "status", code=0)
    assert deletable(home, 0) == (False, said)
    cycle = home.once()
    assert cycle.returncode == 1 and said in " ".join(cycle.stdout.split())

    asynchy(home, "verify", "12282a", "--level", "size", code=0)
    assert os.path.lexists(copy / name)
    assert (copy / "latest").readlink() == Path("a")
    assert "nothing wrong" in asynchy(home, "audit", code=0)
    assert said not in asynchy(home, "status", code=0)
    assert deletable(home, 0)[0]


def test_a_lost_link_comes_again_when_the_experiment_is_fetched_again(home: Home) -> None:
    copy = brought(home)
    lose(copy, "latest", None)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    assert home.once().returncode == 0
    assert (copy / "latest").readlink() == Path("a")
    assert "nothing wrong" in asynchy(home, "audit", code=0)


def test_a_link_that_the_facility_changed_is_no_lost_one(home: Home) -> None:
    copy = brought(home)
    source = home.facility.data / "mx" / "12282a"
    (source / "latest").unlink()
    (source / "latest").symlink_to("b")
    (source / "dangling").unlink()
    (source / "new").write_text("new")
    give(source)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    assert home.once().returncode == 0
    assert (copy / "latest").readlink() == Path("b")
    (copy / "dangling").unlink()  # the facility has it no more
    assert "nothing wrong" in asynchy(home, "audit", code=0)


def test_a_lost_link_that_a_person_puts_back_is_lost_no_more(home: Home) -> None:
    copy = brought(home)
    lose(copy, "latest", None)
    asynchy(home, "audit", code=1)
    (copy / "latest").symlink_to("a")
    assert "nothing wrong" in asynchy(home, "audit", code=0)
    assert deletable(home, 0)[0]


def test_links_of_which_an_older_catalogue_knows_only_the_number_are_not_called_good(
    home: Home,
) -> None:
    brought(home)
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db, db:
        db.execute("DELETE FROM held_others")
    audited = asynchy(home, "audit", code=1)
    assert "3 links or special files not checked" in audited
    assert "`asynchy verify 12282a --level size` records what they are" in audited
    asynchy(home, "verify", "12282a", "--level", "size", code=0)
    assert "nothing wrong" in asynchy(home, "audit", code=0)
