"""Copies are held against the facility byte for byte, in each of the ways that it may offer."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simulator.compare import compare_trees
from simulator.experiments import awkward_names, many_small_files, mx_experiment
from tests.conftest import Group, Home, give, wait_until

WAYS = {
    "shell": "sha256sum at the facility",
    "rsync": "rsync --checksum",
    "sftp": "second read over SFTP",
}
FRAME = "frames/ada/lysozyme 1/lyso_1_0001.cbf"


def prepared(home: Home, epn: str = "12282a") -> Path:
    source = home.facility.experiment("mx", epn)
    mx_experiment(source, epn, frames=6, frame_bytes=50_000)
    awkward_names(source)
    give(source)
    home.visit(epn)
    return source


def offer(home: Home, way: str, **programs: str) -> None:
    """Have the facility offer no more than one way of comparing, or other programs."""
    rsync = f'exec {shutil.which("rsync")} "$@"'
    by_way = {"shell": None, "rsync": {"rsync": rsync}, "sftp": {}, "other": programs}
    home.facility.programs = by_way[way]
    home.facility.stop_sshd()
    home.facility.start_sshd()


LYING = """
/usr/bin/sha256sum "$@" | /usr/bin/tr '\\n\\0' '\\0\\n' |
/usr/bin/sed '/lyso_1_0001.cbf$/s/^[0-9a-f]*/%s/' | /usr/bin/tr '\\n\\0' '\\0\\n'
""" % ("0" * 64)


def flip(path: Path, at: int = 1000) -> None:
    """Change one byte and keep size and time."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert path.stat().st_mtime_ns == found.st_mtime_ns


def verify(home: Home, *arguments: str) -> Any:
    return home.program.run("asynchy", "--config", home.config, "verify", *arguments)


def held(home: Home) -> dict[str, tuple[int | None, bytes | None, str | None]]:
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        rows = db.execute("SELECT path, level, sha256, damage FROM held").fetchall()
    return {os.fsdecode(path): tuple(rest) for path, *rest in rows}


def only(copies: list[dict[str, Any]]) -> dict[str, Any]:
    (copy,) = copies
    return copy


@pytest.mark.parametrize("way", WAYS)
def test_a_flipped_byte_at_home_is_found_kept_aside_and_fetched_again(home: Home, way: str) -> None:
    source = prepared(home)
    offer(home, way)
    assert home.once().returncode == 0
    flip(home.copy("12282a") / FRAME)
    damaged = (home.copy("12282a") / FRAME).read_bytes()

    run = verify(home, "12282a", "--level", "source")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{FRAME} differs from the facility's" in run.stderr
    assert compare_trees(source, home.copy("12282a")) == []
    aside = home.copy("12282a").with_name("data.asynchy-mismatch")
    (kept,) = (path for path in aside.rglob("*") if path.is_file())
    assert kept.read_bytes() == damaged
    assert str(kept).endswith(FRAME)
    assert str(aside) in run.stdout

    copy = only(home.status("12282a"))
    assert (copy["level"], copy["damaged"], copy["completed"] is not None) == ("source", 0, True)
    assert [check["way"] for check in copy["checks"]] == [WAYS[way]] * 2
    assert [check["different"] for check in copy["checks"]] == [1, 0]
    assert copy["checks"][0]["files"] == copy["files"] and copy["checks"][1]["files"] == 1
    assert [one["verdict"] for one in copy["history"]] == ["complete", "complete"]
    assert [one["check"] for one in copy["history"]][-1] == "source"

    if way == "shell":
        assert verify(home).returncode == 0  # nothing is left to prove
        assert len(only(home.status("12282a"))["checks"]) == 2
        assert verify(home, "--again").returncode == 0
        last = only(home.status("12282a"))["checks"][-1]
        assert (last["files"], last["different"]) == (copy["files"], 0)


def test_a_verification_by_a_clock_that_was_ahead_keeps_no_later_one_from_comparing(
    home: Home,
) -> None:
    prepared(home)
    home.configure(verify="source")
    assert home.once().returncode == 0
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db, db:
        db.execute("UPDATE held SET checked = checked + 400 * 86400")
    flip(home.copy("12282a") / FRAME)
    run = verify(home, "--again")
    assert run.returncode == 0, run.stderr
    assert f"{FRAME} differs from the facility's" in run.stderr
    counts = [check["files"] for check in only(home.status("12282a"))["checks"]]
    files = only(home.status("12282a"))["files"]
    assert counts == [files, files, 1]


def test_the_time_that_is_told_is_that_of_the_whole_verification(home: Home) -> None:
    prepared(home)
    assert home.once().returncode == 0
    flip(home.copy("12282a") / FRAME)
    slow = home.place / "slow"
    once = f"""
[ -e '{slow}' ] || {{ : > '{slow}'; /bin/sleep 5; }}
exec /usr/bin/sha256sum "$@" """
    offer(home, "other", sha256sum=once, xargs='exec /usr/bin/xargs "$@"')
    run = verify(home)
    assert run.returncode == 0, run.stdout + run.stderr
    (took,) = re.findall(r"([0-9.]+) s$", run.stdout, re.MULTILINE)
    assert float(took) > 5


def test_right_after_the_transfer_where_the_config_says_so(home: Home) -> None:
    prepared(home)
    home.configure(verify="source")
    last = home.undisturbed(home.facility.data / "mx" / "12282a")
    assert last["check"] == "source"
    copy = only(home.status("12282a"))
    assert copy["level"] == "source"
    assert {level for level, _, _ in held(home).values()} == {3}


@pytest.mark.parametrize(
    ("keys", "check", "level"),
    [
        ({"engine": "rsync"}, "transport", "transport"),
        ({"engine": "rsync", "verify": "none", "manifest": "false"}, "transport", "transport"),
        ({"engine": "sftp"}, "size", "size"),
        ({"engine": "sftp", "compare": "size"}, "size", None),
        ({"engine": "sftp", "verify": "none"}, "none", None),
    ],
)
def test_the_level_says_what_was_checked(
    home: Home, keys: dict[str, str], check: str, level: str | None
) -> None:
    prepared(home)
    home.configure(**keys)
    assert home.once().returncode == 0
    copy = only(home.status("12282a"))
    assert (copy["history"][0]["check"], copy["level"]) == (check, level)
    with_digest = 0
    for path, (_, sha256, damage) in held(home).items():
        assert damage is None
        if sha256 is not None:
            assert sha256 == hashlib.sha256((home.copy("12282a") / path).read_bytes()).digest()
            with_digest += 1
    assert with_digest == (copy["files"] if "manifest" not in keys else 0)
    shown = home.program.run("asynchy", "--config", home.config, "status").stdout
    assert (level or "not known") in shown


def test_rsync_does_not_vouch_for_what_was_there_before(home: Home) -> None:
    source = prepared(home)
    home.configure(engine="rsync")
    place = home.copy("12282a") / "home" / "ada" / "auto"
    place.parent.mkdir(parents=True)
    shutil.copytree(source / "home" / "ada" / "auto", place)
    give(home.storage)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")  # nothing was lost
    give(home.place / "ignore.yml")
    assert home.once().returncode == 0
    copy = only(home.status("12282a"))
    assert (copy["history"][0]["check"], copy["level"]) == ("transport", "size")


def test_what_stays_different_is_reported_and_the_copy_is_not_complete(home: Home) -> None:
    """The facility's own sha256sum gives another digest of one file whatever is fetched."""
    source = prepared(home)
    assert home.once().returncode == 0
    offer(home, "other", sha256sum=LYING, xargs='exec /usr/bin/xargs "$@"')

    run = verify(home, "12282a")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "due: 1 file differs from the facility's, also when fetched again" in run.stdout
    copy = only(home.status("12282a"))
    assert (copy["completed"], copy["level"], copy["damaged"]) == (None, None, 1)
    assert copy["history"][-1]["verdict"] == "different"
    # Its bytes are as they were proven: it is the facility's that are others now.
    aside = home.copy("12282a").with_name("data.asynchy-replaced")
    assert sum(path.is_file() for path in aside.rglob("*")) == 1

    # It is due in the next cycle, though ignore.yml lists it; the first one that differed is kept.
    cycle = home.once()
    assert cycle.returncode == 1, cycle.stdout
    assert "differs from the facility's, also when fetched again" in cycle.stdout
    assert sum(path.is_file() for path in aside.rglob("*")) == 1

    offer(home, "shell")
    healed = home.once()
    assert healed.returncode == 0, healed.stdout + healed.stderr
    assert compare_trees(source, home.copy("12282a")) == []
    copy = only(home.status("12282a"))
    assert copy["completed"] is not None and copy["damaged"] == 0
    assert held(home)[FRAME][0] == 3


@pytest.mark.parametrize("tool", ["sha256sum", "rsync"])
def test_an_image_that_is_all_there_is_is_read_once(home: Home, tool: str) -> None:
    """Finding out which way is offered reads nothing that is read again."""
    source = home.facility.experiment("mx", "12282a")
    (source / "image.sqfs").write_bytes(os.urandom(3_000_000))
    give(source)
    home.visit("12282a")
    assert home.once().returncode == 0
    calls = home.place / "calls"
    noted = f"""echo "$*" >> '{calls}'; exec {shutil.which(tool)} "$@" """
    if tool == "rsync":
        offer(home, "other", rsync=noted)
    else:
        offer(home, "other", sha256sum=noted, xargs='exec /usr/bin/xargs "$@"')
    run = verify(home)
    assert run.returncode == 0, run.stdout + run.stderr
    (check,) = only(home.status("12282a"))["checks"]
    assert (check["files"], check["bytes"], check["way"][:5]) == (1, 3_000_000, tool[:5])
    made = [call for call in calls.read_text().splitlines() if tool != "rsync" or "-nc" in call]
    assert len(made) == 1, made
    before, after = home.log.index("comparing 1 file, 3.00 MB"), home.log.index("compared by")
    assert before < after


def test_a_command_that_is_killed_at_the_facility_is_no_missing_one(home: Home) -> None:
    """A dearer way of comparing is not taken because sshd's session was killed meanwhile."""
    prepared(home)
    assert home.once().returncode == 0
    offer(home, "other", xargs="exit 137")  # so a shell tells that its command was killed
    run = verify(home, "12282a")
    assert run.returncode != 0
    assert "signal 9 ended the command at the facility" in run.stdout
    offer(home, "shell")
    assert verify(home, "12282a").returncode == 0
    assert WAYS["shell"] in {check["way"] for check in only(home.status("12282a"))["checks"]}


def test_what_rsync_says_differs_is_read_before_it_is_believed(home: Home) -> None:
    """While rsync looks, a file at the facility is another one; then it is as it was."""
    source = prepared(home)
    assert home.once().returncode == 0
    frame, kept = source / FRAME, home.place / "frame"
    shutil.copy2(frame, kept)
    give(kept)
    rewritten = f"""
case "$*" in
*-nc*)
  printf x | /bin/dd of='{frame}' conv=notrunc bs=1 seek=10 2>/dev/null
  /usr/bin/touch -r '{kept}' '{frame}'
  {shutil.which("rsync")} "$@"; code=$?
  /bin/cp -p '{kept}' '{frame}'
  exit $code;;
esac
exec {shutil.which("rsync")} "$@" """
    offer(home, "other", rsync=rewritten)
    run = verify(home)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "rsync reports that 1 file is not the same" in home.log
    copy = only(home.status("12282a"))
    (check,) = copy["checks"]
    assert (check["way"], check["different"], copy["level"]) == (WAYS["rsync"], 0, "source")
    assert not home.copy("12282a").with_name("data.asynchy-mismatch").exists()


def test_a_verification_that_was_killed_leaves_a_complete_copy(home: Home) -> None:
    prepared(home)
    home.configure(recheck_after=0, accept_left_out=True)
    assert home.once().returncode == 0
    offer(home, "other", sha256sum="exec /bin/sleep 15", xargs='exec /usr/bin/xargs "$@"')
    with home.program.start("asynchy", "--config", home.config, "verify") as process:
        wait_until(lambda: only(home.status("12282a"))["claim"])
        process.kill()
        process.communicate()
    offer(home, "shell")
    assert verify(home).returncode == 0
    assert only(home.status("12282a"))["history"][-1]["verdict"] == "interrupted"
    shown = home.program.run("asynchy", "--config", home.config, "status").stdout
    assert "complete 20" in shown and "due" not in shown
    run = home.program.run("asynchy", "--config", home.config, "report", "reconcile")
    assert "yes: " in run.stdout, run.stdout


@pytest.mark.parametrize(
    ("name", "why"), [(FRAME, "found missing"), ("late.log", "changes were seen")]
)
def test_what_could_not_be_fetched_is_due_for_mxsync_too(home: Home, name: str, why: str) -> None:
    source = prepared(home)
    assert home.once().returncode == 0
    (home.copy("12282a") / name).unlink(missing_ok=True)
    with (source / name).open("a"):
        (source / name).chmod(0)
    give(source)
    run = verify(home, "12282a")
    assert run.returncode == 1 and "due: 1 file could not be fetched" in run.stdout
    shown = home.program.run("asynchy", "--config", home.config, "status").stdout
    assert "due: 1 file could not be fetched" in shown
    assert why in home.mxsync().stdout
    assert home.once().returncode == 1
    (source / name).chmod(0o644)
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []
    assert "Nothing to transfer." in home.once().stdout


def test_a_late_file_is_brought_home_by_a_second_look(home: Home) -> None:
    source = prepared(home)
    home.configure(recheck_after=2)
    home.facility.portal.clear_visits()
    home.visit("12282a", ended=47)
    assert home.once().returncode == 0
    (source / "late.log").write_text("auto-processing was late")
    give(source)
    quiet = home.once()
    assert "Nothing to transfer." in quiet.stdout
    home.facility.portal.clear_visits()
    home.visit("12282a", ended=49)
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        db.execute("UPDATE copies SET completed_listing = datetime(completed_listing, '-2 hours')")
        db.commit()
    plan = home.mxsync()
    assert "looked at a second time for what was written late" in plan.stdout
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []
    assert only(home.status("12282a"))["attempts"] == 2
    assert "Nothing to transfer." in home.once().stdout


@pytest.mark.extra
def test_a_verification_that_is_stopped_goes_on_where_it_was(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    many_small_files(source, 12_000)
    give(source)
    home.visit("12282a")
    home.configure(manifest="false", streams=1)
    assert home.once().returncode == 0
    offer(home, "sftp")

    def proven() -> int:
        return sum(level == 3 for level, _, _ in held(home).values())

    command = ("asynchy", "--config", home.config, "verify")
    with home.program.start(*command) as process:
        # Whoever closes a database last tidies up beside it: another user does not open it first.
        wait_until((home.place / "catalogue.db-wal").exists)
        wait_until(lambda: proven() or process.poll() is not None)
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err
    before = proven()
    assert 0 < before < 12_000
    first = only(home.status("12282a"))
    assert first["completed"] is not None and "stopped" in first["checks"][-1]["reason"]
    assert verify(home).returncode == 0
    last = only(home.status("12282a"))
    assert last["level"] == "source"
    assert last["checks"][-1]["files"] == last["files"] - before


def test_a_copy_that_is_not_there_is_told_and_nothing_is_fetched(home: Home) -> None:
    prepared(home)
    assert home.once().returncode == 0
    home.copy("12282a").rename(home.place / "elsewhere")
    run = verify(home)
    assert run.returncode == 1
    assert "its copy is not at home" in run.stdout
    assert not home.copy("12282a").exists()


def test_what_lies_in_the_way_at_home_is_named_and_all_else_is_fetched(home: Home) -> None:
    source = prepared(home)
    home.configure(engine="sftp")
    assert home.once().returncode == 0
    data = home.copy("12282a")
    folder = data / "frames/ada/lysozyme 1"
    folder.rename(home.place / "moved")
    folder.symlink_to(home.place / "moved")
    file = next(path for path in sorted(data.rglob("*.log")) if path.is_file())
    file.unlink()
    file.mkdir()
    missing = data / ".info"
    missing.unlink()
    run = verify(home)
    assert run.returncode == 1
    told = " ".join(run.stdout.split())
    assert "files could not be fetched, the first of them frames/ada/lysozyme 1: " in told
    assert f"{folder}: a symbolic link is in the way; move it away" in home.log
    assert f"{file}: a folder is in the way; move it away" in home.log
    assert missing.is_file()
    assert folder.is_symlink() and not list(data.parent.glob(".asynchy-*"))

    folder.unlink()
    file.rmdir()
    assert verify(home).returncode == 0
    assert compare_trees(source, data) == []


def test_names_that_make_no_sense_are_refused(home: Home) -> None:
    prepared(home)
    assert home.once().returncode == 0
    assert verify(home, "99999z").returncode == 5
    assert verify(home, "no-epn").returncode == 2


def test_without_any_way_it_says_so(home: Home) -> None:
    prepared(home)
    assert home.once().returncode == 0
    home.configure(engine="rsync")
    home.facility.offers_sftp = False
    refuses = f"""case "$*" in *-nc*) exit 1;; esac; exec {shutil.which("rsync")} "$@" """
    offer(home, "other", rsync=refuses)
    run = verify(home)
    assert run.returncode == 1, run.stdout
    assert "its bytes could not be compared" in run.stdout
    assert only(home.status("12282a"))["completed"] is not None


def test_copies_that_sync_made_are_verified_and_audited(group: Group) -> None:
    group.experiment("12282a")
    assert group.walk().returncode == 0
    vault = group.place / "vault"
    vault.mkdir()
    give(vault)
    assert group.asynchy("sync", "--dest", vault).returncode == 0
    run = group.asynchy("verify")
    assert run.returncode == 0, run.stdout + run.stderr
    assert group.rows("SELECT level FROM copies") == [(3,)]
    flip(vault / "12282a" / "frames" / "ada" / "lysozyme 1" / "lyso_1_0001.cbf")
    audit = group.asynchy("audit")
    assert audit.returncode == 1
    assert "1 different" in audit.stdout
    assert group.asynchy("verify").returncode == 0
    assert (vault / "12282a.asynchy-mismatch").is_dir()
    assert group.asynchy("audit").returncode == 0


def test_what_verify_could_not_fetch_is_due_for_sync_too(group: Group) -> None:
    source = group.experiment("12282a")
    assert group.walk().returncode == 0
    vault = group.place / "vault"
    vault.mkdir()
    give(vault)
    assert group.asynchy("sync", "--dest", vault).returncode == 0
    (vault / "12282a" / FRAME).unlink()
    (source / FRAME).chmod(0)
    assert group.asynchy("verify").returncode == 1
    run = group.asynchy("sync", "--dest", vault)
    assert run.returncode == 6 and "1 file could not be fetched" in run.stdout
    (source / FRAME).chmod(0o644)
    assert group.asynchy("sync", "--dest", vault).returncode == 0
    assert compare_trees(source, vault / "12282a") == []
    assert "Nothing to transfer." in group.asynchy("sync", "--dest", vault).stdout
