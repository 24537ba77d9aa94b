"""Nothing falls through: what is told, visible, ours and held is compared in each cycle."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

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


def shown(home: Home, *arguments: str) -> str:
    run = home.program.run("asynchy", "--config", home.config, "status", *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


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


def test_after_a_rebuild_without_a_mount_nothing_is_fetched_until_it_is_back(home: Home) -> None:
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
    assert home.once().returncode == 0


def test_a_rebuild_compares_what_was_fetched_for_another_project_before(home: Home) -> None:
    for epn in ("12282a", "12283b"):
        measured(home, epn)
        home.visit(epn, ended=24 * 20)
    assert home.once().returncode == 0
    for path in filter(Path.is_file, home.place.glob("catalogue.db*")):
        path.unlink()
    (home.project("kx12") / "notes").touch()
    home.configure(epn_cap_map={"12282": "kx12", "12283": "kx12", "8020": "ny79"})
    shutil.rmtree(home.copy("12283b") / "frames")
    rebuilt = home.program.run("asynchy", "--config", home.config, "catalogue", "rebuild")
    assert rebuilt.returncode == 1, rebuilt.stdout + rebuilt.stderr
    assert "Not complete at the place of another project" in rebuilt.stdout
    assert f"12283b (mx): 4 files missing or different in {home.copy('12283b')}" in rebuilt.stdout
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
