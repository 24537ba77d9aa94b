"""Copies that other programs made are taken over: compared, recorded, and looked after from then on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest

from asynchy.repatriation.adoption import BATCH
from simulator.compare import compare_trees
from simulator.scratch import remove
from tests.conftest import Group, Home, give, interrupt, wait_until
from tests.integration.test_obligations import measured, set_time, shown

EPNS = ("12282a", "12283b", "8020l")


def fetched_by_original(home: Home, epn: str) -> Path:
    """An experiment at the facility, and a copy of it that the original program made."""
    source = measured(home, epn)
    by_original(source, home.copy(epn))
    give(home.storage)
    return source


def by_original(source: Path, copy: Path) -> None:
    copy.mkdir(parents=True)
    options = ["--recursive", "--times", "--perms", "--chmod=Dg+s,ug+w,o-wx,ug+X"]
    options += ["--include=.info", "--exclude=.*", "--quiet"]
    subprocess.run(["rsync", *options, f"{source}/", copy], check=True)


def listed_in_ignore_file(home: Home, *epns: str) -> None:
    (home.place / "ignore.yml").write_text(f"previouslySynched: [{', '.join(epns)}]\n")
    give(home.place / "ignore.yml")


@pytest.fixture
def switched(home: Home) -> Home:
    """Three experiments that the original program fetched and listed; nothing of ours yet."""
    for epn in EPNS:
        fetched_by_original(home, epn)
    listed_in_ignore_file(home, *EPNS)
    return home


def adopt(home: Home, *arguments: str) -> tuple[int, str]:
    command = ("asynchy", "--config", home.config, "adopt", *arguments)
    run = home.program.run(*command, limit=300)
    return run.returncode, run.stdout + run.stderr


def files_of(copy: Path) -> list[Path]:
    return [path for path in sorted(copy.rglob("*")) if path.is_file()]


def attempts(home: Home) -> int:
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        return int(db.execute("SELECT count(*) FROM attempts").fetchone()[0])


def asynchy(home: Home, *arguments: str) -> tuple[int, str]:
    run = home.program.run("asynchy", "--config", home.config, *arguments)
    return run.returncode, run.stdout + run.stderr


def test_complete_copies_are_recorded_at_level_size_and_no_file_is_moved(switched: Home) -> None:
    before = {path: path.stat().st_ino for path in files_of(switched.storage)}
    code, said = adopt(switched)
    assert code == 0, said
    assert "3 experiments complete, 0 recorded before, 0 not complete" in said
    assert {path: path.stat().st_ino for path in files_of(switched.storage)} == before
    for epn in EPNS:
        (copy,) = switched.status(epn)
        assert (copy["level"], copy["completed"] is not None) == ("size", True)
        assert [(one["files"], one["engine"]) for one in copy["history"]] == [(0, "")]
        assert f"{epn} (mx): at home" in shown(switched, epn)


def test_adopted_copies_are_audited_verified_received_and_reconciled(switched: Home) -> None:
    assert adopt(switched)[0] == 0
    assert asynchy(switched, "audit")[0] == 0
    code, said = asynchy(switched, "verify")
    assert code == 0, said
    code, said = asynchy(switched, "receipt", "12282a")
    assert code == 0, said
    assert switched.once().returncode == 0
    code, said = asynchy(switched, "report", "reconcile", "--format", "json")
    rows = json.loads(said)
    assert {row["epn"] for row in rows} == set(EPNS)
    assert all(row["level"] == "source" for row in rows), said


def test_an_audit_finds_what_changed_in_an_adopted_copy(switched: Home) -> None:
    assert adopt(switched)[0] == 0
    assert asynchy(switched, "audit")[0] == 0  # this makes the digests
    damaged = max(files_of(switched.copy("12283b")), key=lambda path: path.stat().st_size)
    found = damaged.stat()
    damaged.write_bytes(b"x" * found.st_size)
    os.utime(damaged, ns=(found.st_atime_ns, found.st_mtime_ns))
    code, said = asynchy(switched, "audit")
    assert code == 1
    assert "12283b" in said and "different" in said


def test_what_a_copy_lacks_is_told_and_fetched_by_the_next_cycle(switched: Home) -> None:
    missing, newer, changed = (files_of(switched.copy("12282a"))[at] for at in (0, 1, 2))
    missing.unlink()
    source = switched.facility.data / "mx" / "12282a"
    there = source / newer.relative_to(switched.copy("12282a"))
    there.write_bytes(there.read_bytes() + b"more")
    time = there.stat().st_mtime + 100
    os.utime(there, (time, time))
    changed.write_bytes(b"ours")
    code, said = adopt(switched)
    assert code == 1
    (line,) = [one for one in said.splitlines() if "12282a (mx): " in one]
    assert "1 file missing, 1 file newer at the facility, 1 file changed at home" in line
    assert "2 experiments complete, 0 recorded before, 1 not complete" in said
    story = shown(switched, "12282a")
    assert "12282a (mx): due" in story and "1 file newer at the facility" in story
    run = switched.once()
    assert run.returncode == 0, run.stdout + run.stderr
    assert compare_trees(source, switched.copy("12282a"), modes=False) == []
    beside = switched.copy("12282a").parent.rglob(changed.name)
    assert any(path.read_bytes() == b"ours" for path in beside)


def test_what_is_passed_over_at_home_is_named(switched: Home) -> None:
    project = switched.copy("12282a").parents[1]
    (project / "12282a").rename(project / "12282A")
    shutil.move(project / "8020l" / "data", switched.place / "disk")
    (project / "8020l" / "data").symlink_to(switched.place / "other-disk")
    code, said = adopt(switched)
    assert code == 1
    passed = said.partition("At home, and passed over:")[2]
    assert f"{project}/12282A: not looked at, because it is not named 12282a; rename it" in passed
    assert f"{project}/8020l/data: a link to {switched.place}/other-disk, which is" in passed
    assert "12283b" not in passed
    assert adopt(switched, "12283b")[0] == 0  # the others are not asked about


def test_copies_without_times_count_as_changed_until_the_config_says_otherwise(
    switched: Home,
) -> None:
    for path in files_of(switched.copy("12282a")):
        os.utime(path)
    code, said = adopt(switched, "12282a")
    assert code == 1
    assert "files changed at home" in said
    inodes = {path: path.stat().st_ino for path in files_of(switched.copy("12282a"))}
    switched.configure(compare="size")
    assert switched.once().returncode == 0
    (copy,) = switched.status("12282a")
    assert copy["completed"] is not None
    source = switched.facility.data / "mx" / "12282a"
    assert compare_trees(source, switched.copy("12282a"), modes=False) == []
    assert {path: path.stat().st_ino for path in inodes} == inodes
    assert asynchy(switched, "verify")[0] == 0


def test_a_second_run_compares_only_what_is_not_recorded_as_complete(switched: Home) -> None:
    files_of(switched.copy("12283b"))[0].unlink()
    assert adopt(switched)[0] == 1
    assert attempts(switched) == 3
    code, said = adopt(switched)
    assert code == 1
    assert "0 experiments complete, 2 recorded before, 1 not complete" in said
    assert attempts(switched) == 4


def test_a_complete_copy_that_is_due_again_is_left_to_the_next_cycle(switched: Home) -> None:
    assert adopt(switched)[0] == 0
    set_time(switched, "copies", "completed_listing", days=2)
    switched.visit("12282a", ended=24)
    code, said = adopt(switched)
    assert code == 0, said
    assert "0 experiments complete, 3 recorded before" in said
    assert attempts(switched) == 3


def test_what_is_gone_or_has_a_running_visit_is_named_and_not_compared(switched: Home) -> None:
    remove(switched.facility.data / "mx" / "12282a")
    switched.visit("12283b", ended=-4)
    code, said = adopt(switched)
    assert code == 1
    assert "12282a: no longer found at the facility" in said
    assert "12283b (mx): a visit is running" in said
    assert "1 experiment complete" in said
    assert [row["epn"] for row in switched.status() if row["completed"]] == ["8020l"]


def test_a_dry_run_shows_the_same_and_records_nothing(switched: Home) -> None:
    files_of(switched.copy("12282a"))[0].unlink()
    listed = (switched.place / "ignore.yml").read_bytes()
    code, said = adopt(switched, "--dry-run")
    assert code == 1
    assert "12282a (mx): 1 file missing" in said
    assert "2 experiments complete" in said and "Nothing was recorded." in said
    assert not (switched.place / "catalogue.db").exists()
    assert (switched.place / "ignore.yml").read_bytes() == listed


def test_an_entry_whose_copy_is_not_at_home_is_named_and_not_fetched(switched: Home) -> None:
    shutil.rmtree(switched.copy("8020l").parent)
    code, said = adopt(switched)
    assert code == 1
    assert "8020l: listed in ignore.yml, not at home" in said
    assert "If ignore.yml lists an EPN, remove the entry" in said
    assert switched.once().returncode == 0
    assert not switched.copy("8020l").exists()
    assert "8020l (mx): skipped" in shown(switched, "8020l")


def test_an_entry_of_a_person_skips_an_incomplete_copy_all_the_same(switched: Home) -> None:
    listed_in_ignore_file(switched, *EPNS[1:])
    assert switched.once().returncode == 0  # from now on, entries are those of persons
    listed_in_ignore_file(switched, *EPNS)
    files_of(switched.copy("12282a"))[0].unlink()
    code, said = adopt(switched)
    assert code == 1
    assert "skipped by an entry of ignore.yml" in said
    switched.once()
    assert "12282a (mx): skipped" in shown(switched, "12282a")


def test_folders_at_home_alone_are_taken_over(switched: Home) -> None:
    (switched.place / "ignore.yml").unlink()
    assert switched.once().returncode == 5
    code, said = adopt(switched)
    assert code == 0, said
    assert switched.once().returncode == 0
    assert all(f"{epn} (mx): at home" in shown(switched, epn) for epn in EPNS)


def test_the_epns_that_are_named_alone_are_compared(switched: Home) -> None:
    code, said = adopt(switched, "12282a")
    assert code == 0, said
    assert [row["epn"] for row in switched.status() if row["completed"]] == ["12282a"]
    code, said = adopt(switched, "99999z")
    assert code == 1
    assert "99999z: not at home" in said


def test_without_the_facility_nothing_is_recorded_and_the_exit_code_says_so(switched: Home) -> None:
    switched.facility.stop_sshd()
    code, said = adopt(switched)
    assert code == 4
    assert "Could not be asked" in said
    switched.facility.start_sshd()
    assert adopt(switched)[0] == 0


def test_without_the_portal_nothing_is_recorded_as_complete(switched: Home) -> None:
    switched.facility.portal.set_fault("status", path="visits", code=404)
    code, said = adopt(switched)
    assert code == 4
    assert "Complete at home, but not recorded" in said
    assert not any(row["completed"] for row in switched.status())
    switched.facility.portal.clear_faults()
    assert adopt(switched)[0] == 0


@pytest.mark.parametrize(
    ("number_of_signal", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 128 + signal.SIGTERM)],
)
def test_an_adoption_that_was_ended_goes_on_behind_its_last_batch(
    home: Home, number_of_signal: signal.Signals, code: int
) -> None:
    number = BATCH + 10
    epns = [f"{proposal}a" for proposal in range(20000, 20000 + number)]
    home.configure(epn_cap_map={epn[:-1]: "ny79" for epn in epns})
    for epn in epns:
        for folder in (home.facility.experiment("mx", epn), home.copy(epn)):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "one.cbf").write_text(epn)
            os.utime(folder / "one.cbf", (10**9, 10**9))
    give(home.facility.data)
    give(home.storage)
    listed_in_ignore_file(home, *epns)
    command = ("asynchy", "--config", home.config, "adopt")
    with home.program.start(*command) as process:
        wait_until(lambda: completed(home), 300)
        assert interrupt(process, number_of_signal)[0] == code
    before = completed(home)
    assert 0 < before < number
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        assert db.execute("SELECT reason FROM due").fetchall() == []
    again, said = adopt(home)
    assert again == 0, said
    assert f"{number - before} experiments complete, {before} recorded before" in said
    assert completed(home) == number


def completed(home: Home) -> int:
    """Copies that are recorded as complete so far.

    Read from a copy of the database: another user's files beside it, which SQLite makes even for
    reading, would keep asynchy from writing.
    """
    query = "SELECT count(*) FROM copies WHERE completed IS NOT NULL"
    with tempfile.TemporaryDirectory() as folder:
        for end in ("-wal", ""):
            with suppress(FileNotFoundError):
                shutil.copy(home.place / f"catalogue.db{end}", folder)
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{folder}/catalogue.db")) as db:
            return int(db.execute(query).fetchone()[0])
    return 0


def vault(group: Group, *epns: str) -> Path:
    """A folder with copies that the original asynchy made, of experiments that a walk has seen."""
    folder = group.place / "vault"
    folder.mkdir()
    for epn in epns:
        by_original(group.experiment(epn), folder / epn)
    give(group.place)
    assert group.walk().returncode == 0
    return folder


def test_what_is_below_a_destination_is_taken_over_for_sync(group: Group) -> None:
    folder = vault(group, "12282a", "12283b", "8020l")
    files_of(folder / "12283b")[0].unlink()
    shutil.rmtree(folder / "8020l")
    run = group.asynchy("adopt", "--dest", folder)
    assert run.returncode == 1
    assert "12283b (mx): 1 file missing" in run.stdout
    assert "1 experiment complete" in run.stdout
    assert group.rows("SELECT destination, level FROM copies WHERE completed IS NOT NULL") == [
        (str(folder / "12282a"), 1)
    ]
    plan = group.asynchy("sync", "--dest", folder, "--dry-run")
    assert "12282a" not in plan.stdout and "12283b" in plan.stdout
    assert group.asynchy("sync", "--dest", folder).returncode == 0
    assert group.asynchy("audit").returncode == 0


def test_what_the_original_asynchy_completed_is_due_where_its_copy_lacks_something(
    group: Group,
) -> None:
    folder = vault(group, "12282a", "12283b")
    by_original_program(group, "12282a", "12283b")
    files_of(folder / "12282a")[0].unlink()
    shutil.rmtree(folder / "12283b")
    assert "12282a" not in fetched(group, folder, "--dry-run")
    run = group.asynchy("adopt", "--dest", folder)
    assert run.returncode == 1
    assert "12283b: complete by the original program, not at home" in run.stdout
    fetched(group, folder)
    assert (
        compare_trees(group.facility.data / "mx" / "12282a", folder / "12282a", modes=False) == []
    )
    assert not (folder / "12283b").exists()


def fetched(group: Group, folder: Path, *arguments: str) -> str:
    """What a sync would fetch, or has fetched."""
    run = group.asynchy("sync", "--dest", folder, *arguments)
    return run.stdout.partition("Left out")[0]


def by_original_program(group: Group, *epns: str) -> None:
    """Import a database of the original asynchy that calls experiments complete."""
    path = group.place / "files.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE files (epn TEXT, path TEXT UNIQUE, size INTEGER, modified TEXT)")
        db.execute(
            "CREATE TABLE epns (epn TEXT, size INTEGER, modified TEXT,"
            " complete INTEGER DEFAULT 0, bytesTransferred INTEGER DEFAULT 0)"
        )
        for epn in epns:
            source = group.facility.data / "mx" / epn
            for file in files_of(source):
                row = (epn, str(file), file.stat().st_size, "2012-07-01 08:00:00")
                db.execute("INSERT INTO files VALUES (?, ?, ?, ?)", row)
            db.execute("INSERT INTO epns VALUES (?, 1, '2030-07-01 08:00:00', 1, 1)", (epn,))
    give(path)
    assert group.asynchy("catalogue", "import", path).returncode == 0


def test_without_projects_the_folder_of_the_copies_has_to_be_named(group: Group) -> None:
    run = group.asynchy("adopt")
    assert run.returncode == 2
    assert "name the folder of the copies with --dest" in run.stderr
