"""Our own state in trouble, and secrets: refused with words, nothing overwritten, nothing told."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.experiments import mx_experiment
from tests.conftest import Home, give, wait_until

OURS = "# asynchy adds an EPN when its copies are complete. Catalogue: "


def prepared(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    give(source)
    home.visit("12282a")


def test_a_damaged_catalogue_is_refused_and_stays_as_it_is(home: Home) -> None:
    prepared(home)
    damaged = home.place / "catalogue.db"
    damaged.write_bytes(b"this is no database, but somebody's notes" * 100)
    give(damaged)
    run = home.once()
    assert run.returncode == 5
    assert str(damaged) in run.stderr and "What to do:" in run.stderr
    assert damaged.read_bytes() == b"this is no database, but somebody's notes" * 100
    assert not home.copy("12282a").exists()


# State that is lost


def used(home: Home) -> Path:
    """State in a folder of its own: 12282a was fetched, 12283a is skipped by hand."""
    state = home.place / "state"
    state.mkdir()
    (state / "ignore.yml").write_text("# ours\npreviouslySynched:\n- 12283a # of no use\n")
    home.configure(ignore=str(state / "ignore.yml"))
    prepared(home)
    skipped = home.facility.experiment("mx", "12283a")
    mx_experiment(skipped, "12283a", frames=1, frame_bytes=100)
    give(skipped)
    home.visit("12283a")
    run = home.once()
    assert run.returncode == 0, run.stdout + run.stderr
    assert not home.copy("12283a").exists()
    return state


def fetched_nothing(home: Home, before: set[Path], *arguments: str) -> str:
    """Have a cycle end with 5 that fetches nothing; what it says."""
    run = home.mxsync("--execute", *(arguments or ("--once",)))
    assert run.returncode == 5, run.stdout + run.stderr
    assert set(home.storage.rglob("*")) == before
    return run.stderr


def test_the_first_cycle_writes_who_adds_entries_and_where_the_catalogue_is(home: Home) -> None:
    state = used(home)
    text = f"# ours\n{OURS}{state}/catalogue.db\npreviouslySynched:\n- 12283a # of no use\n- 12282a # asynchy\n"
    assert (state / "ignore.yml").read_text() == text
    with closing(sqlite3.connect(state / "catalogue.db")) as db:
        ours = "SELECT epn FROM ignore_entries WHERE origin = 'ours'"
        assert db.execute(ours).fetchall() == [("12282a",)]
        assert ("ignore-entries", "2") in db.execute("SELECT name, value FROM state").fetchall()


def test_a_state_folder_that_is_not_mounted_stops_the_cycle_and_gets_no_ignore_yml(
    home: Home,
) -> None:
    state = used(home)
    before = set(home.storage.rglob("*"))
    mounted = state.rename(home.place / "elsewhere")
    state.mkdir()
    give(state)
    for arguments in (["--once"], []):  # and as a service
        said = fetched_nothing(home, before, *arguments)
        assert f"The folder {state} is empty: is a file system not mounted there?" in said
        assert f"{state}/ignore.yml" in said and f"{state}/catalogue.db" in said
        assert "--new-state" in said
    assert not (state / "ignore.yml").exists()

    shown = home.mxsync()
    assert shown.returncode == 5
    assert "never fetched" in shown.stdout  # the plan, and then what is wrong
    assert "is a file system not mounted there?" in shown.stderr

    for path in state.iterdir():
        path.unlink()
    state.rmdir()
    mounted.rename(state)  # it is mounted again
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert not home.copy("12283a").exists()


@pytest.mark.parametrize("how", ["missing", "empty", "comments only"])
def test_a_lost_ignore_yml_stops_the_cycle_until_it_is_accepted(home: Home, how: str) -> None:
    state = used(home)
    ignore = state / "ignore.yml"
    before = set(home.storage.rglob("*"))
    if how == "missing":
        ignore.unlink()
    else:
        ignore.write_text("" if how == "empty" else "# new\n")
    said = fetched_nothing(home, before)
    assert f"the catalogue {state}/catalogue.db was used with it, which had 2 entries" in said
    assert how == "missing" or ignore.read_text() in ("", "# new\n")

    run = home.once()
    assert run.returncode == 5  # still
    run = home.mxsync("--execute", "--once", "--new-state")
    assert run.returncode == 0, run.stderr
    assert home.copy("12283a").exists()
    assert "12282a" in ignore.read_text() and "12283a" in ignore.read_text()
    assert home.once().returncode == 0


def test_a_lost_catalogue_stops_the_cycle_until_it_is_accepted(home: Home) -> None:
    state = used(home)
    catalogue = state / "catalogue.db"
    before = set(home.storage.rglob("*"))
    catalogue.unlink()
    said = fetched_nothing(home, before)
    assert f"{catalogue} is missing or empty, but {state}/ignore.yml says" in said
    assert "asynchy catalogue rebuild" in said
    assert not catalogue.exists()

    walk = home.program.run("asynchy", "--config", home.config, "walk")
    assert (walk.returncode, catalogue.exists()) == (5, False)
    audit = home.program.run("asynchy", "--config", home.config, "audit")  # it makes a new one
    assert (audit.returncode, catalogue.exists()) == (5, True)
    assert f"{catalogue} is new" in fetched_nothing(home, before)

    assert home.mxsync("--execute", "--once", "--new-state").returncode == 0
    assert home.once().returncode == 0


def test_a_lost_catalogue_is_noticed_though_all_comments_were_removed(home: Home) -> None:
    state = used(home)
    before = set(home.storage.rglob("*"))
    (state / "ignore.yml").write_text("previouslySynched:\n- 12282a\n")
    (state / "catalogue.db").unlink()
    assert f"backups of it are in {state}/catalogue.db.backups" in fetched_nothing(home, before)


def test_an_ignore_yml_of_the_original_and_data_at_home_are_no_loss(home: Home) -> None:
    prepared(home)
    copy = home.copy("12282a")
    copy.mkdir(parents=True)
    (home.place / "ignore.yml").write_text("previouslySynched: [8020l]\n")
    give(home.place)
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert home.ignored.endswith("previouslySynched: [8020l, 12282a]\n")


def test_new_state_accepts_one_cycle_of_a_service_and_no_later_loss(home: Home) -> None:
    state = used(home)
    ignore = state / "ignore.yml"
    ignore.unlink()
    with home.serving("--new-state") as process:
        wait_until(lambda: ignore.exists() and "12282a" in ignore.read_text())
        wait_until(lambda: "next look in" in home.log)
        ignore.unlink()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the cycle failed" in home.log)
        assert not ignore.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert f"{ignore} is missing or empty" in home.log


def test_new_state_without_execute_is_a_wrong_use(home: Home) -> None:
    assert home.mxsync("--new-state").returncode == 2


def test_an_emptied_list_is_a_persons_wish_and_is_told(home: Home) -> None:
    state = used(home)
    (state / "ignore.yml").write_text("previouslySynched: []\n")
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert "the list is empty, and had 2 entries after the last cycle" in run.stderr
    assert home.copy("12283a").exists()


def test_meaningless_entries_are_warned_of_and_skip_nothing(home: Home) -> None:
    prepared(home)
    (home.place / "ignore.yml").write_text("previouslySynched:\n- mx/12282a\n- 12282a;\n")
    give(home.place)
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert f"{home.place}/ignore.yml:2: `mx/12282a` is not an EPN" in run.stderr
    assert f"{home.place}/ignore.yml:3: `12282a;` is not an EPN" in run.stderr
    assert home.copy("12282a").exists()
    assert home.ignored.endswith("previouslySynched:\n- mx/12282a\n- 12282a;\n- 12282a # asynchy\n")


def test_a_cycle_that_is_stopped_notes_what_was_complete(home: Home) -> None:
    prepared(home)
    source = home.facility.experiment("mx", "8020l")
    (source / "frame.cbf").write_bytes(os.urandom(8_000_000))
    give(source)
    home.visit("8020l", ended=12)  # the later one, so it is the second
    home.configure(bandwidth_limit="500 kB", streams=1, max_tasks=1)
    with home.serving("--once") as process:
        wait_until(lambda: any((home.storage / "ny79/8020l").rglob(".asynchy-data/*")))
        assert home.copy("12282a").exists() and "12282a" not in home.ignored
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=100)
    assert process.returncode == 143
    assert home.ignored.endswith("previouslySynched:\n- 12282a # asynchy\n")


def test_an_ignore_yml_that_goes_in_mid_cycle_is_not_made_anew(home: Home) -> None:
    state = used(home)
    ignore = state / "ignore.yml"
    source = home.facility.experiment("mx", "8020l")
    (source / "frame.cbf").write_bytes(os.urandom(2_000_000))
    give(source)
    home.visit("8020l")
    home.configure(ignore=str(ignore), bandwidth_limit="1 MB", streams=1)
    with home.serving("--once") as process:
        wait_until(lambda: any(home.storage.rglob(".asynchy-data/*")))
        ignore.unlink()
        out, err = process.communicate(timeout=100)
    assert process.returncode == 5, out + err
    assert home.copy("8020l").exists()
    assert f"8020l: complete, but not noted in ignore.yml: {ignore} is missing" in err
    assert not ignore.exists()


def test_a_damaged_catalogue_is_restored_and_what_came_later_is_compared_not_fetched(
    home: Home,
) -> None:
    state = used(home)  # its cycle has made a backup
    source = home.facility.experiment("mx", "12284a")
    mx_experiment(source, "12284a", frames=2, frame_bytes=1000)
    give(source)
    home.configure(
        ignore=str(state / "ignore.yml"),
        epn_cap_map={"12282": "ny79", "12284": "ny79", "12283": "ny79"},
    )
    home.visit("12284a")
    assert home.once().returncode == 0
    for end in ("-wal", "-shm"):
        (state / f"catalogue.db{end}").unlink(missing_ok=True)
    data = bytearray((state / "catalogue.db").read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    (state / "catalogue.db").write_bytes(data)
    give(state)

    def catalogue(*arguments: str) -> subprocess.CompletedProcess[str]:
        return home.program.run("asynchy", "--config", home.config, "catalogue", *arguments)

    broken = home.once()
    assert broken.returncode == 5
    assert "is damaged" in broken.stderr and "`asynchy catalogue restore`" in broken.stderr
    checked = catalogue("check")
    assert (checked.returncode, "is damaged" in checked.stdout) == (5, True)
    assert catalogue("backup").returncode == 5  # the good one stays the newest
    restored = catalogue("restore")
    assert restored.returncode == 0 and "What was there is in" in restored.stdout
    assert catalogue("check").stdout.endswith("nothing is wrong\n")
    assert (next(state.glob("catalogue.db.replaced-*"))).read_bytes() == bytes(data)

    shown = home.mxsync()
    assert "12284a" in shown.stdout and "0 files" in shown.stdout
    run = home.once()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "moved 0 files" in home.log
    assert compare_trees(source, home.copy("12284a")) == []


def test_after_a_restore_what_was_lost_since_the_backup_is_fetched(home: Home) -> None:
    state = used(home)  # its cycle has made a backup
    frame = next(path for path in home.copy("12282a").rglob("*.cbf"))
    frame.unlink()
    assert home.once().returncode == 0  # nothing is due: nobody has looked
    assert not frame.exists()
    (state / "catalogue.db").write_bytes(b"")
    checked = home.program.run("asynchy", "--config", home.config, "catalogue", "check")
    assert checked.returncode == 5 and "is missing or empty" in checked.stderr
    restored = home.program.run("asynchy", "--config", home.config, "catalogue", "restore")
    assert restored.returncode == 0, restored.stderr
    give(state)
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert frame.exists()
    assert "moved 1 file," in home.log


def test_a_value_that_no_catalogue_has_is_named_by_check_and_by_every_command(home: Home) -> None:
    state = used(home)
    with closing(sqlite3.connect(state / "catalogue.db")) as db, db:
        db.execute("UPDATE attempts SET ended = 'yesterday'")
    for arguments in (["catalogue", "check"], ["status"]):
        run = home.program.run("asynchy", "--config", home.config, *arguments)
        assert run.returncode == 5, run.stdout + run.stderr
        assert "the catalogue has a value in the place of a time: 'yesterday'" in run.stderr
        assert "asynchy catalogue restore" in run.stderr.replace("\n", " ")


def test_a_user_who_may_only_read_sees_the_catalogue_and_leaves_nothing_beside_it(
    home: Home,
) -> None:
    state = used(home)
    catalogue = state / "catalogue.db"
    owner = (0, 0) if os.getuid() == 0 else (os.getuid(), os.getgid())
    for path in (catalogue, state):
        os.chown(path, *owner)
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(path.name for path in state.iterdir())
    try:
        status = home.program.run("asynchy", "--config", home.config, "status", "12282a")
        assert status.returncode == 0, status.stderr
        assert "12282a (mx): at home" in status.stdout
        assert sorted(path.name for path in state.iterdir()) == before
    finally:
        state.chmod(0o755)
