"""Copies read again at home: every flipped byte, every file that is missing or too many."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simulator.compare import compare_trees
from simulator.experiments import awkward_names, many_small_files, mx_experiment
from tests.conftest import Home, give, wait_until
from tests.integration.test_verify import FRAME, flip, held, offer, only, verify


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
    assert (
        f"due: 1 file missing and {len(flipped)} files damaged at home; `asynchy verify` repairs that"
        in shown
    )

    mended = verify(home)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert gone.read_bytes() == (source / gone.relative_to(copy)).read_bytes()
    (copy / "frames" / "extra\n.txt").unlink()
    assert audit(home).returncode == 0
    status = only(home.status("12282a"))
    assert (status["damaged"], status["level"]) == (0, "source")


def stopped_while_fetching(home: Home, *, kill: bool = False) -> None:
    """A verification that had something to fetch, and ended before anything came."""
    home.configure(engine="rsync", retention_days={"mx": 30})
    offer(home, "other", rsync="exec /bin/sleep 30")
    begun = home.log.count("12282a: begins: ")
    with home.program.start("asynchy", "--config", home.config, "verify", "12282a") as process:
        wait_until(lambda: home.log.count("12282a: begins: ") > begun)
        process.kill() if kill else process.terminate()
        process.communicate(timeout=60)
    offer(home, "shell")


def at_risk(home: Home) -> Any:
    return home.program.run("asynchy", "--config", home.config, "report", "at-risk")


@pytest.mark.extra
def test_files_stay_missing_after_a_verification_that_was_stopped(home: Home) -> None:
    source = prepared(home)
    assert verify(home).returncode == 0
    copy = home.copy("12282a")
    gone = [path for path in sorted(copy.rglob("*.cbf")) if path != copy / FRAME][:2]
    for path in gone:
        path.unlink()
    stopped_while_fetching(home)

    assert audit(home, "12282a").returncode == 1
    assert (last_check(home)["missing"], last_check(home)["extra"]) == (2, 0)
    shutil.copy2(source / gone[0].relative_to(copy), gone[0])
    give(copy)
    for _ in range(2):  # flipped and as it was again
        flip(copy / FRAME)
        assert audit(home, "12282a").returncode == 1
        assert (last_check(home)["missing"], last_check(home)["extra"]) == (1, 0)
    status = only(home.status("12282a"))
    assert (status["level"], status["damaged"], status["completed"]) == (None, 1, None)
    risk = at_risk(home)
    assert risk.returncode == 1 and "files are missing" in risk.stdout

    assert "found missing, or to differ" in home.mxsync().stdout
    assert home.once().returncode == 0
    assert compare_trees(source, copy, modes=False) == []
    assert audit(home).returncode == 0
    assert at_risk(home).returncode == 0


def test_an_audit_that_is_stopped_does_not_say_that_there_was_nothing(home: Home) -> None:
    prepared(home)
    copy = home.copy("12282a")
    command = ("asynchy", "audit", "--rate", "10kB", "--config", home.config)
    with home.program.start(*command) as process:

        def reads() -> bool:
            opened = Path(f"/proc/{process.pid}/fd").iterdir()
            return any(str(fd.resolve()).startswith(str(copy)) for fd in opened)

        wait_until(reads)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Nothing to audit" not in out + err
    assert "stopped" in err


def test_a_copy_whose_verification_was_killed_is_audited_and_due(home: Home) -> None:
    prepared(home)
    gone = home.copy("12282a") / FRAME
    kept = gone.rename(home.place / "kept")
    stopped_while_fetching(home, kill=True)

    run = audit(home, "12282a")
    assert run.returncode == 1 and "1 missing" in run.stdout
    assert only(home.status("12282a"))["history"][-1]["verdict"] == "interrupted"
    kept.rename(gone)
    assert audit(home, "12282a").returncode == 0
    shown = home.program.run("asynchy", "--config", home.config, "status").stdout
    assert "due: the process died" in shown
    assert home.once().returncode == 0
    assert only(home.status("12282a"))["damaged"] == 0


def test_a_copy_that_somebody_works_on_is_not_audited_and_that_is_no_success(home: Home) -> None:
    prepared(home)
    offer(home, "other", sha256sum="exec /bin/sleep 60", xargs='exec /usr/bin/xargs "$@"')
    with home.program.start("asynchy", "--config", home.config, "verify") as process:
        wait_until(lambda: only(home.status("12282a"))["claim"])
        run = audit(home)
        assert run.returncode == 1
        assert f"process {process.pid} on " in run.stdout
        assert "12282a: not audited: process " in run.stderr
        process.kill()
        process.communicate()
    offer(home, "shell")
    assert audit(home).returncode == 0


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
    assert "is missing" in run.stdout
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
    assert "nothing wrong in what was read; 1 file could not be read" in run.stdout
    assert only(home.status())["damaged"] == 0


def test_a_closed_folder_matters_if_files_of_the_copy_are_in_it(home: Home) -> None:
    prepared(home)
    mine = home.copy("12282a") / "private"
    mine.mkdir(mode=0o700)  # root's, if root runs the tests
    mine.chmod(0)
    assert audit(home).returncode == 0
    frames = home.copy("12282a") / "frames"
    frames.chmod(0)
    run = audit(home)
    assert run.returncode == 1
    assert "files could not be read" in run.stdout
    assert only(home.status())["damaged"] == 0
    frames.chmod(0o2770)
    mine.chmod(0o700)


def test_a_file_that_cannot_be_read_does_not_hold_the_turns_up(home: Home) -> None:
    prepared(home)
    (home.copy("12282a") / FRAME).chmod(0)
    read = []
    for _ in range(3):
        audit(home, "--sample", "33%")
        read.append(last_check(home)["files"])
    assert sum(read) == only(home.status())["files"] - 1
    assert sum(check["reason"] is not None for check in only(home.status("12282a"))["checks"]) == 1


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
        wait_until(digests)
        process.terminate()
        process.communicate(timeout=60)
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
