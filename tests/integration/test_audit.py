"""Copies read again at home: every flipped byte, every file that is missing or too many."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simulator.experiments import awkward_names, many_small_files, mx_experiment
from tests.conftest import Home, give, wait_until
from tests.integration.test_verify import FRAME, flip, held, only, verify


def prepared(home: Home, epn: str = "12282a", **keys: str) -> Path:
    source = home.facility.experiment("mx", epn)
    mx_experiment(source, epn, frames=6, frame_bytes=50_000)
    awkward_names(source)
    give(source)
    home.visit(epn)
    home.configure(**keys)
    assert home.once().returncode == 0
    return source


def audit(home: Home, *arguments: str, **options: Any) -> Any:
    return home.program.run("asynchy", "--config", home.config, "audit", *arguments, **options)


def last_check(home: Home, epn: str = "12282a") -> dict[str, Any]:
    check: dict[str, Any] = only(home.status(epn))["checks"][-1]
    return check


def test_nothing_is_wrong_with_what_has_just_come_home_and_the_facility_is_not_asked(
    home: Home,
) -> None:
    prepared(home)
    home.facility.stop_sshd()
    run = audit(home)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert "nothing wrong" in run.stdout
    check = last_check(home)
    assert (check["kind"], check["files"], check["digested"]) == (
        "audit",
        only(home.status())["files"],
        0,
    )


def test_every_flipped_byte_missing_and_extra_file_is_found_and_named(home: Home) -> None:
    source = prepared(home)
    copy = home.copy("12282a")
    files = [path for path in copy.rglob("*") if path.is_file() and path.stat().st_size]
    flipped = [copy / FRAME, *(path for path in files if path.parent.name == "run_1")]
    for at, path in enumerate(flipped):
        flip(path, at * path.stat().st_size // len(flipped))
    gone = copy / "home" / "ada" / "auto" / "dataset" / "run_0" / "XDS.INP"
    gone.unlink()
    (copy / "frames" / "extra\n.txt").write_text("x")
    give(copy)

    run = audit(home, "12282a")
    assert run.returncode == 1
    for path in flipped:
        assert f"12282a: changed: {path.relative_to(copy)}" in run.stderr
    assert "12282a: missing: home/ada/auto/dataset/run_0/XDS.INP" in run.stderr
    assert "12282a: extra: frames/extra\\n.txt" in run.stderr
    check = last_check(home)
    assert (check["different"], check["missing"], check["extra"]) == (len(flipped), 1, 1)
    status = only(home.status("12282a"))
    assert (status["damaged"], status["level"]) == (len(flipped) + 1, None)
    assert status["completed"] is not None  # mxsync leaves it alone; verify mends it
    shown = home.program.run("asynchy", "--config", home.config, "status").stdout
    assert f"{len(flipped) + 1} files damaged" in shown

    mended = verify(home)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert gone.read_bytes() == (source / gone.relative_to(copy)).read_bytes()
    (copy / "frames" / "extra\n.txt").unlink()
    assert audit(home).returncode == 0
    status = only(home.status("12282a"))
    assert (status["damaged"], status["level"]) == (0, "source")


def test_files_without_a_digest_get_one_and_that_is_said(home: Home) -> None:
    prepared(home, manifest="false")
    run = audit(home)
    number = only(home.status())["files"]
    assert run.returncode == 0
    assert f"nothing wrong, first digest of {number:,} files" in run.stdout
    assert last_check(home)["digested"] == number
    assert None not in {sha256 for _, sha256, _ in held(home).values()}
    level = only(home.status())["level"]
    flip(home.copy("12282a") / FRAME)
    assert audit(home).returncode == 1
    assert only(home.status())["level"] is None
    flip(home.copy("12282a") / FRAME)  # as it was again
    assert audit(home).returncode == 0
    status = only(home.status())
    assert (status["damaged"], status["level"]) == (0, level)


def test_samples_read_every_file_once_in_their_turns(home: Home) -> None:
    prepared(home)
    flip(home.copy("12282a") / FRAME)
    codes = []
    read = 0
    for _ in range(3):
        codes.append(audit(home, "--sample", "33%").returncode)
        read += last_check(home)["files"]
    assert sorted(codes) == [0, 0, 1]
    assert read == only(home.status())["files"]
    assert last_check(home)["way"] == "at home, a third"


def test_a_folder_that_is_not_there_is_one_thing_wrong_and_not_all_files(home: Home) -> None:
    prepared(home)
    copy = home.copy("12282a")
    copy.rename(home.place / "elsewhere")
    run = audit(home)
    assert run.returncode == 1
    assert "its folder is not there" in run.stdout
    assert only(home.status())["damaged"] == 0
    (home.place / "elsewhere").rename(copy)
    assert audit(home).returncode == 0


def test_what_a_copy_holds_that_an_older_version_brought_is_not_known(home: Home) -> None:
    prepared(home)
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        db.execute("DELETE FROM held")
        db.commit()
    run = audit(home)
    assert run.returncode == 1
    assert "it is not known what it holds" in run.stdout
    assert verify(home, "--level", "size").returncode == 0
    assert audit(home).returncode == 0


def test_a_file_that_cannot_be_read_is_told(home: Home) -> None:
    prepared(home)
    path = home.copy("12282a") / FRAME
    path.chmod(0)
    run = audit(home)
    assert run.returncode == 1
    assert f"not readable (Permission denied): {FRAME}" in run.stderr
    assert "could not be read" in run.stdout
    assert only(home.status())["damaged"] == 0


@pytest.mark.extra
def test_an_audit_that_is_stopped_keeps_what_it_found(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    many_small_files(source, 3000)
    give(source)
    home.visit("12282a")
    home.configure(manifest="false")
    assert home.once().returncode == 0

    def digests() -> int:
        return sum(sha256 is not None for _, sha256, _ in held(home).values())

    command = ("asynchy", "--config", home.config, "audit", "--rate", "400kB")
    with home.program.start(*command) as process:
        wait_until(digests, 60)
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 143
    found = digests()
    assert 0 < found < 3000
    assert last_check(home)["reason"] == "stopped"
    assert audit(home).returncode == 0
    assert last_check(home)["digested"] == 3000 - found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sample", "101%"), "accepted is 1%"),
        (("--rate", "3"), "at least 10 kB"),
        (("no-epn",), "is not an EPN"),
    ],
)
def test_what_makes_no_sense_is_refused(home: Home, arguments: tuple[str, ...], words: str) -> None:
    run = audit(home, *arguments)
    assert run.returncode == 2
    assert words in re.sub(r"[│\s]+", " ", run.stderr)


def test_an_epn_that_is_not_known_is_told(home: Home) -> None:
    prepared(home)
    assert audit(home, "99999z").returncode == 5
