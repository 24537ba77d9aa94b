"""Nothing falls through: what is told, visible, ours and held is compared in each cycle."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.experiments import mx_experiment
from simulator.scratch import remove
from tests.conftest import Group, Home, give


def measured(home: Home, epn: str, beamline: str = "mx") -> Path:
    """Data of an experiment at the facility."""
    source = home.facility.experiment(beamline, epn)
    mx_experiment(source, epn, frames=2, frame_bytes=3000)
    give(source)
    return source


def set_time(home: Home, table: str, column: str, *, days: float) -> None:
    """Have the catalogue say that something was that many days ago."""
    when = datetime.now(UTC) - timedelta(days=days)
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        query = f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL"
        db.execute(query, (f"{when:%Y-%m-%d %H:%M:%S.%f}",))
        db.commit()


def copies(home: Home, *arguments: str | Path) -> int:
    run = home.program.run("asynchy", "--config", home.config, "copies", *arguments)
    return run.returncode


def mailed(home: Home) -> subprocess.CompletedProcess[str]:
    return home.program.run("epnalert", "--config", home.config, "--dry-run")


def shown(home: Home, *arguments: str) -> str:
    run = home.program.run("asynchy", "--config", home.config, "status", *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_portal_that_tells_nothing_any_more_has_not_told_all_unless_it_tells_of_older_visits(
    home: Home,
) -> None:
    for epn in ("12282a", "12283b"):
        measured(home, epn)
    home.visit("12282a")
    assert home.once().returncode == 0
    home.facility.portal.clear_visits()  # as for a user that has lost the rights
    run = home.once()
    assert run.returncode == 4
    words = "reports no visit of the last year, although it has reported 1 visit before"
    assert words in run.stderr and words in mailed(home).stdout
    home.visit("12283b", ended=24 * 200)
    assert home.once().returncode == 0
    assert not home.copy("12283b").exists()  # it is asked about, and not for


def test_a_mail_before_the_originals_ignore_yml_is_there_does_not_make_its_entries_a_persons(
    home: Home,
) -> None:
    measured(home, "12282a")
    home.visit("12282a")
    run = home.program.run("epnalert", "--config", home.config)
    assert run.returncode in {0, 7}, run.stderr
    ignore = home.place / "ignore.yml"
    ignore.write_text("previouslySynched:\n- 12282a\n")
    give(ignore)
    assert home.once().returncode == 0
    set_time(home, "ignore_entries", "since", days=1)
    home.visit("12282a", ended=1)
    (home.facility.experiment("mx", "12282a") / "later.h5").write_bytes(b"later")
    assert home.once().returncode == 0
    assert home.copy("12282a").exists()


def test_another_ignore_yml_in_the_place_of_one_that_is_still_there_is_named_once(
    home: Home,
) -> None:
    measured(home, "12282a")
    home.visit("12282a")
    assert home.once().returncode == 0
    other = home.place / "other.yml"
    other.write_text("previouslySynched: []\n")
    give(other)
    home.configure(ignore=str(other))
    words = f"ignore.yml is {other} now, and was {home.place / 'ignore.yml'} before"
    assert words in home.once().stdout
    assert words not in home.once().stdout
    assert words in home.log


def test_after_an_outage_longer_than_the_range_nothing_is_missing(home: Home) -> None:
    home.configure(visit_day_range=30)
    measured(home, "12283b")
    home.visit("12283b", ended=24 * 60)
    assert home.once().returncode == 0  # seen at the facility, and not asked for
    source = measured(home, "12282a")
    home.visit("12282a", ended=24 * 40)
    set_time(home, "portal_spans", "until", days=50)
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []


def test_an_epn_that_is_mapped_late_is_fetched_though_its_visit_has_left_the_range(
    home: Home,
) -> None:
    source = measured(home, "12282a")
    home.visit("12282a", ended=24 * 25)
    home.configure(epn_cap_map={"8020": "ny79"})
    assert home.once().returncode == 1
    home.configure(visit_day_range=5)
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []


def test_what_is_visible_and_in_no_visit_is_named_and_fetched_on_demand(home: Home) -> None:
    source = measured(home, "12282a")
    plan = home.mxsync()
    assert plan.returncode == 0
    assert "1 experiment is visible at the SFTP service and ours" in plan.stdout
    assert "12282a (mx)" in plan.stdout
    home.configure(fetch_visible=True)
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []


def test_a_source_folder_that_is_not_at_the_facility_is_named_and_in_the_exit_code(
    home: Home,
) -> None:
    measured(home, "12283b")
    home.visit("12283b")
    assert home.once().returncode == 0
    home.configure(source_path=f"{home.facility.data}/typo/{{beamline}}/{{epn}}/")
    measured(home, "12282a")
    said = f"{home.facility.data}/typo/mx is not at the facility: check `source-path`"
    for run in (home.mxsync(), home.once(), mailed(home)):
        assert run.returncode == 4
        assert said in " ".join(run.stdout.split())
        assert "take its equipment out of the config until then" in " ".join(run.stdout.split())
    home.visit("12282a")
    assert home.once().returncode == 4
    status = home.program.run("asynchy", "--config", home.config, "status")
    assert (
        f"No experiment was found in {home.facility.data}/typo/mx at the facility, where "
        "1 experiment is due: check `source-path` and `beamline`"
    ) in status.stdout


@pytest.mark.parametrize("visible", [True, False])
def test_an_epn_of_a_visit_that_cannot_be_read_stays_known(home: Home, visible: bool) -> None:
    if visible:
        measured(home, "12282a")
    measured(home, "12283b")
    home.visit("12283b")
    begin = datetime.now(UTC) - timedelta(days=60)
    end = begin + timedelta(days=999)
    home.facility.portal.add_visit(equipment=23, epn="12282a", start=begin, end=end)
    assert home.once().returncode == 4  # it may be running
    home.facility.portal.clear_visits()  # the facility takes it back
    home.visit("12283b")
    assert home.once().returncode == 0
    assert home.copy("12282a").exists() == visible
    assert "12282a (mx): " in shown(home, "12282a")


def test_a_row_with_an_epn_that_is_none_costs_that_row_alone(home: Home) -> None:
    for epn in ("12282a", "12283b"):
        measured(home, epn)
        home.visit(epn)
    home.visit("77777x")
    home.configure(epn_cap_map={"12282": "ny79", "12283": "ny79"})
    assert home.once().returncode == 1  # 77777x has no project
    mailed(home)
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        for table in ("experiments", "visits", "due"):
            db.execute(f"UPDATE {table} SET epn = '12_83b' WHERE epn = '12283b'")
        db.execute("INSERT INTO ignore_entries VALUES ('none', 'person', '2026-01-01 00:00:00.0')")
        db.commit()
    run = home.once()
    assert run.returncode == 5
    assert "1 row of `experiments` left out, with an EPN that is none: '12_83b'" in run.stderr
    assert "12282a (mx): at home" in shown(home, "12282a")
    assert "12_83b" in " ".join(shown(home).split())
    for command in (
        ("verify", "--level", "size"), ("audit",), ("report", "at-risk"), ("report", "activity"),
        ("report", "reconcile"), ("copies", "list"), ("catalogue", "stats"), ("adopt",),
        ("walk",), ("alert", "--dry-run"), ("catalogue", "rebuild"),
    ):  # fmt: skip
        run = home.program.run("asynchy", "--config", home.config, *command)
        assert run.returncode in (0, 1, 5), f"{command}: {run.stderr}"
    check = home.program.run("asynchy", "--config", home.config, "catalogue", "check")
    assert check.returncode == 5
    assert "12_83b" in check.stdout and "`ignore_entries`" in check.stdout


def test_one_epn_on_two_beamlines_is_two_experiments_with_one_place(home: Home) -> None:
    measured(home, "12282a")
    home.visit("12282a")
    assert home.once().returncode == 0
    other = measured(home, "12282a", "saxs")
    (other / "only there").write_text("saxs")
    give(other)
    home.configure(beamline="saxs")
    home.visit("12282a", ended=20)
    again = home.once()
    assert again.returncode == 1
    assert "belongs to 12282a (mx)" in again.stdout
    assert not (home.copy("12282a") / "only there").exists()


def test_a_copy_that_is_missing_waits_for_a_person(home: Home) -> None:
    source = measured(home, "12282a")
    measured(home, "12283b")
    home.visit("12282a")
    home.visit("12283b")
    assert home.once().returncode == 0
    away = home.place / "archive"
    shutil.move(home.copy("12282a"), away)
    home.copy("12282a").parent.rmdir()

    run = home.once()
    assert run.returncode == 1
    assert "its copy is not at home" in run.stdout
    assert not home.copy("12282a").exists()
    assert "its copy is not at home" in shown(home, "12282a")
    report = home.program.run("asynchy", "--config", home.config, "report", "at-risk")
    assert report.returncode == 1 and "its folder at home is missing" in report.stdout

    assert copies(home, "move", "12282a", home.place / "elsewhere") == 1
    (away / "frames").rename(away / "other")
    assert copies(home, "move", "12282a", away) == 1
    (away / "other").rename(away / "frames")
    assert copies(home, "move", "12282a", away) == 0
    assert home.once().returncode == 0
    assert f"complete at another place: in {away}" in shown(home)

    remove(away)
    assert home.once().returncode == 1
    assert copies(home, "refetch", "12282a") == 0
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []


def test_a_storage_with_another_path_is_taken_over_once_the_config_names_it(home: Home) -> None:
    source = measured(home, "12282a")
    home.visit("12282a", ended=48)
    assert home.once().returncode == 0
    new = home.place / "new storage"
    home.storage.rename(new)
    assert "cannot be reached" in home.once().stdout
    home.configure(destination_root_path=str(new))
    run = home.once()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "moved 0 files" in home.log
    copy = new / home.copy("12282a").relative_to(home.storage)
    assert compare_trees(source, copy) == []
    assert [row["destination"] for row in home.status("12282a")] == [str(copy)]
    audit = home.program.run("asynchy", "--config", home.config, "audit")
    assert audit.returncode == 0, audit.stderr
    assert not home.storage.exists()


def test_a_copy_that_is_forgotten_is_not_fetched_until_the_epn_comes_back(home: Home) -> None:
    measured(home, "12282a")
    measured(home, "12283b")
    home.visit("12282a", ended=48)
    home.visit("12283b", ended=48)
    assert home.once().returncode == 0
    remove(home.copy("12282a"))
    assert copies(home, "forget", "12282a", "--reason", "published") == 0
    assert home.once().returncode == 0
    assert not home.copy("12282a").exists()
    assert "published" in shown(home, "12282a")
    assert "released" in shown(home, "12282a")
    set_time(home, "experiments", "released", days=1)
    home.visit("12282a", ended=2)
    assert home.once().returncode == 0
    assert home.copy("12282a").exists()


def test_an_experiment_without_files_is_never_complete(home: Home) -> None:
    home.facility.experiment("mx", "12282a")
    home.visit("12282a")
    run = home.once()
    assert run.returncode == 1
    assert "nothing there yet" in run.stdout
    assert "12282a" not in home.ignored
    source = measured(home, "12282a")
    home.undisturbed(source)


def test_what_was_never_at_the_facility_is_not_called_gone(home: Home) -> None:
    measured(home, "12283b")
    home.visit("12283b")
    home.visit("12282a", ended=2)
    for _ in range(2):
        run = home.once()
        assert run.returncode == 1
        assert "there is no such folder at the facility" in run.stdout
    told = shown(home) + shown(home, "12282a")
    assert "gone" not in told and "wait for its data" in told


def test_what_was_released_without_data_is_fetched_once_data_arrive(home: Home) -> None:
    measured(home, "12283b")
    home.visit("12283b", ended=72)
    home.visit("12282a", ended=72)
    for _ in range(2):
        assert home.once().returncode == 1
    assert copies(home, "forget", "12282a", "--reason", "no data") == 0
    assert home.once().returncode == 0
    source = measured(home, "12282a")
    when = time.time() - 3 * 86400
    for path in source.rglob("*"):
        os.utime(path, (when, when), follow_symlinks=False)
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []


def test_a_second_folder_of_an_epn_is_named_by_all_and_keeps_the_first_from_being_deleted(
    home: Home,
) -> None:
    measured(home, "12282a")
    measured(home, "12282A")
    home.visit("12282a", ended=24 * 20)
    for _ in range(2):
        assert home.once().returncode != 0
    second = str(home.facility.data / "mx" / "12282A")
    assert second in shown(home) and second in shown(home, "12282a")
    for report in ("at-risk", "reconcile"):
        run = home.program.run("asynchy", "--config", home.config, "report", report)
        assert second in run.stdout and "yes" not in run.stdout, run.stdout
    walk = home.program.run("asynchy", "--config", home.config, "walk")
    assert second in shown(home), walk.stdout


def test_a_visit_that_the_portal_now_tells_of_another_beamline_leaves_no_obligation(
    home: Home,
) -> None:
    source = measured(home, "12282a")
    home.configure(beamline="xm")
    home.visit("12282a")
    home.visit("12283b", ended=24 * 20)
    assert home.once().returncode != 0
    measured(home, "12283b")
    home.configure(beamline="mx")
    for _ in range(2):
        run = home.once()
        assert run.returncode == 0, run.stdout + run.stderr
    assert compare_trees(source, home.copy("12282a")) == []


def test_a_place_around_the_older_copy_is_not_fetched_to(home: Home) -> None:
    source = measured(home, "12282a")
    home.visit("12282a", ended=48)
    assert home.once().returncode == 0
    set_time(home, "copies", "completed_listing", days=3)
    home.configure(destination_path="{project}/{epn}")
    home.visit("12282a", ended=2)
    run = home.once()
    assert run.returncode == 1 and "inside or around another copy" in run.stdout
    assert [path.name for path in home.copy("12282a").parent.iterdir()] == ["data"]
    assert compare_trees(source, home.copy("12282a")) == []


def test_what_was_gone_and_is_back_is_compared(home: Home) -> None:
    source = measured(home, "12282a")
    measured(home, "12283b")
    home.visit("12282a", ended=24 * 20)
    assert home.once().returncode == 0
    source.rename(home.place / "away")
    home.facility.portal.clear_visits()
    home.visit("12283b", ended=24 * 200)
    assert home.once().returncode == 0
    new = home.place / "away" / "new"
    new.write_text("written meanwhile")
    os.utime(new, (1e9, 1e9))
    (home.place / "away").rename(source)
    give(source)
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []


def test_what_the_facility_lost_is_reported_and_kept_at_home(home: Home) -> None:
    source = measured(home, "12282a")
    home.visit("12282a", ended=48)
    assert home.once().returncode == 0
    gone = next(path for path in sorted(source.rglob("*.cbf")))
    name = gone.relative_to(source)
    gone.unlink()
    set_time(home, "copies", "completed_listing", days=3)  # before the visit had ended
    assert home.once().returncode == 0
    assert "the facility no longer lists 1 file" in home.log
    assert (home.copy("12282a") / name).exists()
    assert "the facility no longer lists 1 file" in shown(home)


def test_a_visit_that_has_been_running_for_weeks_is_named_with_what_it_holds_back(
    home: Home,
) -> None:
    measured(home, "12282a")
    home.visit("12282a", ended=24)
    home.visit("99998z", ended=-24, hours=24 * 20)
    plan = home.mxsync()
    assert "A visit of 99998z on mx has been running since" in plan.stdout
    assert "12282a (mx)" in plan.stdout
    assert home.once().returncode in (0, 1)
    assert "A visit of 99998z on mx has been running since" in shown(home)


def test_a_lost_catalogue_is_rebuilt_from_what_is_at_home(home: Home) -> None:
    source = measured(home, "12282a")
    measured(home, "12283b")
    home.visit("12282a", ended=24 * 20)
    home.visit("12283b", ended=24 * 20)
    assert home.once().returncode == 0
    for path in filter(Path.is_file, home.place.glob("catalogue.db*")):
        path.unlink()
    (home.copy("12283b") / "frames").rename(home.copy("12283b") / "away")
    lost = home.once()
    assert lost.returncode == 5
    assert "catalogue rebuild" in lost.stderr
    home.facility.portal.clear_visits()
    rebuilt = home.program.run("asynchy", "--config", home.config, "catalogue", "rebuild")
    assert rebuilt.returncode == 1, rebuilt.stdout + rebuilt.stderr
    assert "Not complete at home" in rebuilt.stdout and "12283b" in rebuilt.stdout
    (copy,) = home.status("12282a")
    assert copy["completed"] is not None and copy["level"] == "size"
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []


def test_after_a_rebuild_without_a_mount_nothing_is_fetched_until_another_rebuild(
    home: Home,
) -> None:
    measured(home, "12282a")
    home.visit("12282a", ended=24 * 20)
    assert home.once().returncode == 0
    for path in filter(Path.is_file, home.place.glob("catalogue.db*")):
        path.unlink()
    folder, away = home.copy("12282a").parent.parent, home.place / "away"
    folder.rename(away)
    home.project("ny79")
    rebuilt = home.program.run("asynchy", "--config", home.config, "catalogue", "rebuild")
    assert rebuilt.returncode == 1 and str(folder) in rebuilt.stdout
    stopped = home.once()
    assert stopped.returncode == 5, stopped.stdout + stopped.stderr
    assert f"{folder} was missing or empty when the catalogue" in stopped.stderr
    assert list(folder.iterdir()) == []
    folder.rmdir()
    away.rename(folder)
    assert home.once().returncode == 5
    rebuilt = home.program.run("asynchy", "--config", home.config, "catalogue", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert home.once().returncode == 0


def test_a_rebuild_compares_what_was_fetched_for_another_project_before(home: Home) -> None:
    for epn in ("12282a", "12283b"):
        measured(home, epn)
        home.visit(epn, ended=24 * 20)
    assert home.once().returncode == 0
    for path in filter(Path.is_file, home.place.glob("catalogue.db*")):
        path.unlink()
    (home.project("kx12") / "notes").mkdir()
    home.configure(epn_cap_map={"12282": "kx12", "12283": "kx12", "8020": "ny79"})
    shutil.rmtree(home.copy("12283b") / "frames")
    rebuilt = home.program.run("asynchy", "--config", home.config, "catalogue", "rebuild")
    assert rebuilt.returncode == 1, rebuilt.stdout + rebuilt.stderr
    assert "Not complete at the place of another project" in rebuilt.stdout
    (line,) = [one for one in rebuilt.stdout.splitlines() if "12283b (mx): 4 files missing" in one]
    assert line.endswith(f"in {home.copy('12283b')}")
    assert "12282a (mx)" not in rebuilt.stdout
    assert home.once().returncode == 0
    assert not home.copy("12282a", "kx12").exists()
    assert home.copy("12283b", "kx12").exists()


def test_sync_puts_one_epn_of_two_beamlines_where_the_layout_says(group: Group) -> None:
    group.experiment("12282a", "mx")
    group.experiment("12282a", "saxs")
    assert group.walk().returncode == 0
    vault = group.place / "vault"
    vault.mkdir()
    give(vault)
    for _ in range(2):
        one = group.asynchy("sync", "--dest", vault)
        assert one.returncode in (1, 6) and "--layout" in one.stdout  # 6: no new one
    both = group.place / "both"
    both.mkdir()
    give(both)
    run = group.asynchy("sync", "--dest", both, "--layout", "{beamline}/{epn}")
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(path.name for path in both.iterdir()) == ["mx", "saxs"]
    wrong = group.asynchy("sync", "--dest", both, "--layout", "../{epn}")
    assert wrong.returncode == 2


def test_an_entry_that_is_taken_out_has_a_copy_that_was_removed_fetched_again(home: Home) -> None:
    source = measured(home, "12282a")
    measured(home, "12283b")
    for epn in ("12282a", "12283b"):
        home.visit(epn, ended=48)
    assert home.once().returncode == 0
    remove(home.copy("12282a"))
    assert home.once().returncode == 1
    lines = home.ignored.splitlines(keepends=True)
    ignore = home.place / "ignore.yml"
    ignore.write_text("".join(line for line in lines if "12282a" not in line))
    give(ignore)
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []
    assert "12282a" in home.ignored


def test_a_mount_that_is_gone_is_said_once_though_its_folder_has_a_marker(home: Home) -> None:
    for epn in ("12282a", "12282b"):
        measured(home, epn)
        home.visit(epn, ended=48)
    assert home.once().returncode == 0
    (home.storage / "ny79").rename(home.place / "away")
    home.project("ny79")
    (home.storage / "ny79" / "notes").mkdir()
    give(home.storage)
    measured(home, "12283b")
    home.visit("12283b")
    run = home.once()
    assert run.returncode == 1
    assert run.stdout.count("cannot be reached") == 1
    assert not home.copy("12283b").exists()
    assert "cannot be reached" in shown(home, "12282a")


def test_a_copy_without_its_files_is_no_reason_to_delete_those_at_the_facility(home: Home) -> None:
    home.configure(verify="source", recheck_after=0, dot_files=True, accept_left_out=True)
    for epn in ("12282a", "12283b"):
        measured(home, epn)
        home.visit(epn, ended=48)
    assert home.once().returncode == 0
    assert deletable(home) == {"12282a": True, "12283b": True}
    for path in home.copy("12282a").rglob("*"):
        if path.is_file():
            path.unlink()
    (home.copy("12282a") / "README").write_text("moved to tape")
    assert deletable(home) == {"12282a": False, "12283b": True}


def deletable(home: Home) -> dict[str, bool]:
    report = home.program.run(
        "asynchy", "--config", home.config, "report", "reconcile", "--format", "json"
    )
    return {row["epn"]: row["may_be_deleted"] for row in json.loads(report.stdout)}


def test_a_copy_of_a_project_that_is_gone_is_fetched_again_to_the_one_of_now(home: Home) -> None:
    source = measured(home, "12282a")
    measured(home, "12283b")
    for epn in ("12282a", "12283b"):
        home.visit(epn, ended=48)
    assert home.once().returncode == 0
    old, new = home.copy("12282a"), home.project("kx12") / "12282a" / "data"
    remove(old.parent)
    home.configure(epn_cap_map={"12282": "kx12", "12283": "ny79"})
    assert home.once().returncode == 1
    again = decided(home, "refetch", "12282a")
    assert f"it is due again, to {new}" in again
    assert home.once().returncode == 0
    assert compare_trees(source, new) == []
    assert [row["destination"] for row in home.status("12282a")] == [str(new)]


def decided(home: Home, *arguments: str | Path) -> str:
    run = home.program.run("asynchy", "--config", home.config, "copies", *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_person_decides_with_a_reason_once_and_names_a_place_by_its_shortest_path(
    home: Home,
) -> None:
    measured(home, "12282a")
    measured(home, "12283b")
    for epn in ("12282a", "12283b"):
        home.visit(epn, ended=48)
    assert home.once().returncode == 0
    away = home.place / "archive"
    shutil.move(home.copy("12282a"), away)
    decided(home, "move", "12282a", away / ".." / "archive")
    assert [row["destination"] for row in home.status("12282a")] == [str(away)]
    assert copies(home, "forget", "12282a", "--reason", "  ") == 2
    decided(home, "forget", "12282a", "--reason", "on tape")
    assert copies(home, "forget", "12282a", "--reason", "again") == 1
    story = shown(home, "12282a")
    assert "on tape" in story and "knows no copies" not in story
    assert copies(home, "forget", "12282a") == 2  # a reason is needed
    assert copies(home, "forget", "12282a", "--undo", "--copy", away) == 2
    said = decided(home, "forget", "12282a", "--undo")
    assert "12282a (mx): due again" in said
    assert copies(home, "forget", "12282a", "--undo") == 1
    story = shown(home, "12282a")
    assert "12282a (mx): due" in story and "released: on tape" in story
    assert "release taken back" in story
    (row,) = home.status("12282a")
    assert [event["what"] for event in row["events"]] == ["released", "release taken back"]
    assert home.once().returncode == 0
    assert home.copy("12282a").is_dir()


def test_a_copied_line_with_our_comment_is_told_and_skips_nothing(home: Home) -> None:
    measured(home, "12282a")
    home.visit("12282a", ended=48)
    assert home.once().returncode == 0
    ignore = home.place / "ignore.yml"
    ignore.write_text(ignore.read_text() + "- 12283b # asynchy\n")
    give(ignore)
    number = len(ignore.read_text().splitlines())
    source = measured(home, "12283b")
    home.visit("12283b", ended=48)
    run = home.once()
    assert run.returncode == 0
    assert f"the comment of 12283b (line {number}) says that asynchy wrote" in home.log
    assert compare_trees(source, home.copy("12283b")) == []


def test_a_facility_that_changes_its_layout_keeps_an_experiment_one(home: Home) -> None:
    source = measured(home, "12282a")
    home.visit("12282a", ended=48)
    assert home.once().returncode == 0
    number = home.status("12282a")[0]["id"]
    root = home.facility.data
    (root / "2026").mkdir()
    (root / "mx").rename(root / "2026" / "mx")
    home.configure(source_path=f"{root}/2026/{{beamline}}/{{epn}}")
    run = home.once()
    assert run.returncode == 0, run.stdout + run.stderr
    (row,) = home.status("12282a")
    assert (row["id"], row["state"], row["attempts"]) == (number, "at home", 2)  # compared there
    moved = root / "2026" / "mx" / "12282a"
    assert [event["detail"] for event in row["events"]] == [f"from {source} to {moved}"]
    # A link in the old place is no second folder, but a folder is.
    (root / "mx").symlink_to(root / "2026" / "mx")
    set_source(home, str(source))
    assert home.once().returncode == 0
    (root / "mx").unlink()
    source.mkdir(parents=True)
    set_source(home, str(source))
    home.once()  # compares it at the path where it is now
    for _ in range(2):
        run = home.once()
        assert run.returncode == 1
        assert f"a second folder of the same EPN, which is not fetched: {source}" in run.stdout
    remove(root / "mx")
    assert home.once().returncode == 0


def set_source(home: Home, source: str) -> None:
    """Have the catalogue say that experiments were seen there."""
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        db.execute("UPDATE experiments SET source = ?", (source,))
        db.commit()


def test_a_walk_of_the_new_layout_names_nothing_as_lost(home: Home) -> None:
    root = home.facility.data
    old = root / "12282a"
    mx_experiment(old, "12282a", frames=1, frame_bytes=3000)
    give(old)
    assert walk(home).returncode == 0
    (root / "mx").mkdir(exist_ok=True)
    old.rename(root / "mx" / "12282a")
    again = walk(home)
    assert again.returncode == 0 and "NEVER COMPLETE" not in again.stdout + again.stderr
    (row,) = home.status("12282a")
    assert row["beamline"] == "mx"


def walk(home: Home) -> subprocess.CompletedProcess[str]:
    return home.program.run("asynchy", "--config", home.config, "walk")
