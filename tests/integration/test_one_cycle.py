"""Experiments come home: plan, transfer, proof, record, and nothing to do the second time."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.experiments import awkward_names, many_small_files, mx_experiment
from tests.conftest import Home, give


def made(home: Home, epn: str = "12282a", *, frames: int = 6) -> Path:
    folder = home.facility.experiment("mx", epn)
    mx_experiment(folder, epn, frames=frames, frame_bytes=50_000)
    give(folder)
    return folder


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (status.st_mtime_ns, status.st_size)
    return found


def test_an_experiment_comes_home_byte_for_byte_and_the_second_run_finds_nothing(
    home: Home,
) -> None:
    source = made(home)
    awkward_names(source)
    give(source)
    home.visit("12282a")

    first = home.once()
    assert (first.returncode, first.stderr) == (0, "")
    assert compare_trees(source, home.copy("12282a")) == []
    assert "12282a" in home.ignored
    assert "1 experiment completed, 0 still due." in first.stdout

    second = home.once()
    assert (second.returncode, second.stderr) == (0, "")
    assert "Nothing to transfer." in second.stdout
    assert "At home: 1." in second.stdout

    (copy,) = home.status("12282a")
    assert copy["completed"] is not None
    assert copy["attempts"] == 1
    assert copy["history"][0]["exit_code"] == 0
    first = copy["history"][0]
    assert (first["engine"], first["check"]) == ("sftp", "size")
    assert first["chosen"] == "the server offers SFTP"
    assert copy["history"][0]["files"] == copy["files"] > 6


def test_twenty_thousand_files_come_home(home: Home) -> None:
    source = home.facility.experiment("mx", "8020l")
    many_small_files(source, 20_000, seed=3)
    give(source)
    home.visit("8020l")
    assert home.once().returncode == 0
    assert compare_trees(source, home.copy("8020l")) == []
    assert home.status()[0]["files"] >= 20_000


def test_the_dry_run_shows_the_plan_and_writes_nothing_but_logs(home: Home) -> None:
    made(home)
    home.visit("12282a")
    home.visit("99999z")
    before = contents(home.place)
    shown = home.mxsync()
    assert "In all: 1 experiment, " in shown.stdout
    assert shown.stdout.endswith("to fetch. Nothing was changed: this is the plan.\n")
    after = contents(home.place)
    assert shown.returncode == 1  # somebody has to say whose 99999z is
    line = next(line for line in shown.stdout.splitlines() if line.startswith("12282a"))
    assert "ny79" in line and "never fetched" in line and str(home.copy("12282a")) in line
    assert "no project for its proposal in epn_cap_map" in shown.stdout
    changed = {path for path in after if after[path] != before.get(path)}
    logs = str(home.place / "logs")
    assert {path for path in changed if not path.startswith(logs)} == set()


def test_the_plan_says_how_long_it_takes_by_earlier_transfers(home: Home) -> None:
    made(home)
    home.visit("12282a")
    assert home.once().returncode == 0
    nothing = home.mxsync()
    assert nothing.stdout.endswith("\nNothing was changed: this is the plan.\n")
    mx_experiment(home.facility.experiment("mx", "12283a"), "12283a", frames=2, frame_bytes=5000)
    give(home.facility.data)
    home.visit("12283a")
    shown = home.mxsync()
    assert re.search(r"to fetch, about [0-9.]+ s at [0-9.]+ [kM]?B/s, as in the last", shown.stdout)


def test_the_plan_counts_only_what_is_not_at_home_yet(home: Home) -> None:
    source = made(home)
    home.visit("12282a")
    assert home.once().returncode == 0
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    (source / "late.txt").write_text("late")
    give(source)
    shown = home.mxsync()
    assert "1 file, 4 B" in shown.stdout
    assert "fetched before, but not in ignore.yml" in shown.stdout


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_the_same_whatever_the_umask(home: Home, umask: int) -> None:
    source = made(home)
    home.visit("12282a")
    assert home.once(umask=umask).returncode == 0
    assert compare_trees(source, home.copy("12282a"), modes=True) == []
    for folder, _, files in os.walk(os.fsencode(home.copy("12282a"))):
        for name in files:
            mode = os.lstat(folder + b"/" + name).st_mode
            assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | stat.S_IWOTH)
    assert stat.S_IMODE(home.copy("12282a").parent.stat().st_mode) == 0o2770


def test_an_epn_with_a_running_visit_is_left_alone_whatever_the_equipment(home: Home) -> None:
    made(home)
    home.configure(equipment=[{"id": 23}, {"id": 24}])
    home.visit("12282a", ended=48)
    home.visit("12282a", ended=-2, equipment=24)
    run = home.once()
    assert run.returncode == 0
    assert "a visit is running" in run.stdout
    assert not home.copy("12282a").exists()


def test_only_what_ended_before_the_earliest_running_visit_began_is_fetched(home: Home) -> None:
    made(home, "12282a")
    made(home, "12283a")
    home.visit("8020l", ended=-2, hours=10)  # running since eight hours
    home.visit("12282a", ended=9)
    home.visit("12283a", ended=7)
    run = home.once()
    assert run.returncode == 0
    assert home.copy("12282a").exists()
    assert not home.copy("12283a").exists()
    assert "its visit ended after the running one began" in run.stdout


@pytest.mark.parametrize("filtering", ["overlap", "start"])
def test_a_visit_that_began_days_ago_counts_as_running_however_the_portal_filters(
    home: Home, filtering: str
) -> None:
    home.facility.portal.filter_by(filtering)
    made(home, "12282a")
    home.visit("8020l", ended=-2, hours=80)
    home.visit("12282a", ended=60)
    run = home.once()
    assert run.returncode == 0
    assert not home.copy("12282a").exists()
    assert "its visit ended after the running one began" in run.stdout


def test_the_project_folder_is_never_created(home: Home) -> None:
    made(home)
    home.configure(epn_cap_map={"12282": "typo"})
    home.visit("12282a")
    run = home.once()
    assert run.returncode == 1
    assert f"the project folder is not there: {home.storage / 'typo'}" in run.stdout
    assert not (home.storage / "typo").exists()
    assert home.ignored == ""


def test_an_experiment_that_the_facility_does_not_have_stays_due(home: Home) -> None:
    (home.facility.data / "mx").mkdir()
    give(home.facility.data)
    home.visit("12282a")
    run = home.once()
    assert run.returncode == 1
    assert "there is no such folder at the facility" in run.stdout
    assert not home.copy("12282a").exists()


def test_an_experiment_that_does_not_fit_is_not_begun(home: Home) -> None:
    source = made(home)
    free = os.statvfs(home.storage)
    with (source / "image.sqfs").open("wb") as file:
        file.truncate(free.f_bavail * free.f_frsize + 10**9)
    home.visit("12282a")
    run = home.once()
    assert run.returncode == 1
    assert "not enough free space" in run.stdout
    assert not home.copy("12282a").exists()


def test_a_second_beamline_goes_to_the_same_project_by_its_own_paths(home: Home) -> None:
    mx = made(home, "12282a")
    saxs = home.facility.experiment("saxs", "12283b")
    mx_experiment(saxs, "12283b", frames=2)
    give(saxs)
    home.configure(equipment=[{"id": 23}, {"id": 30, "beamline": "saxs"}])
    home.visit("12282a", equipment=23)
    home.visit("12283b", equipment=30)
    assert home.once().returncode == 0
    assert compare_trees(mx, home.copy("12282a")) == []
    assert compare_trees(saxs, home.copy("12283b")) == []


def test_symlinks_and_special_files_come_only_when_asked_for(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    (source / "frame.cbf").write_text("x")
    (source / "inside").symlink_to("frame.cbf")
    (source / "outside").symlink_to("/etc/hostname")
    (source / "folder").mkdir()
    (source / "folder" / "absolute").symlink_to(source / "frame.cbf")
    (source / "folder" / "top").symlink_to("..")
    (source / "around").symlink_to("../12282a/frame.cbf")
    os.mkfifo(source / "pipe")
    give(source)
    home.visit("12282a")
    run = home.once()
    assert run.returncode == 0 and "left out: 5 links, 1 special file" in run.stdout
    (home.copy("12282a") / "folder").rmdir()
    assert [path.name for path in home.copy("12282a").iterdir()] == ["frame.cbf"]

    home.configure(symlinks=True, special_files=True)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    give(home.place)
    run = home.once()
    assert run.returncode == 0 and "complete; left out: 1 link " in run.stdout
    found = {str(path.relative_to(home.copy("12282a"))) for path in home.copy("12282a").rglob("*")}
    assert found == {
        "frame.cbf", "inside", "around", "pipe", "folder", "folder/absolute", "folder/top",
    }  # fmt: skip
    for link in ("inside", "around", "folder/absolute"):
        assert not (home.copy("12282a") / link).readlink().is_absolute()
        assert (home.copy("12282a") / link).read_text() == "x"
    assert (home.copy("12282a") / "folder" / "top").samefile(home.copy("12282a"))


def test_compare_by_size_never_repairs_a_file_of_the_right_size_and_a_restore_by_time_does(
    home: Home,
) -> None:
    source = made(home)
    home.visit("12282a")
    assert home.once().returncode == 0
    victim = home.copy("12282a") / ".info"
    good = victim.read_bytes()

    def damage(*, keep_time: bool) -> None:
        before = (source / ".info").stat()
        victim.write_bytes(b"?" * len(good))
        if keep_time:
            os.utime(victim, ns=(before.st_mtime_ns, before.st_mtime_ns))
        give(victim)
        (home.place / "ignore.yml").write_text("previouslySynched: []\n")

    damage(keep_time=False)
    home.configure(compare="size")
    assert home.once().returncode == 0
    assert victim.read_bytes() != good

    damage(keep_time=False)
    home.configure(compare="time")
    assert home.once().returncode == 0
    assert victim.read_bytes() != good  # a person may have changed it
    restored = home.program.run("asynchy", "--config", home.config, "verify", "--restore")
    assert restored.returncode == 0, restored.stderr
    assert victim.read_bytes() == good

    damage(keep_time=True)
    home.configure(compare="checksum")
    assert home.once().returncode == 0
    assert victim.read_bytes() == good


@pytest.mark.parametrize("engine", ["rsync", "sftp"])
def test_sync_log_has_statistics_and_per_file_lines_only_at_debug(home: Home, engine: str) -> None:
    home.configure(engine=engine)
    made(home)
    home.visit("12282a")
    assert home.once().returncode == 0
    if engine == "rsync":
        assert "Number of regular files transferred" in home.log
    assert f"by the {engine} engine (engine: {engine}), check: " in home.log
    assert "_master.h5" not in home.log

    home.configure(engine=engine, log_level="logging.DEBUG")
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    for path in home.copy("12282a").rglob("*_master.h5"):
        path.unlink()
    assert home.once().returncode == 0
    assert "_master.h5" in home.log


def test_an_epn_with_data_on_two_beamlines(home: Home) -> None:
    """To one destination only the first may go; with `{beamline}` in the path, both."""
    home.configure(equipment=[{"id": 23}, {"id": 30, "beamline": "saxs"}])
    sources = {}
    for beamline, equipment in (("mx", 23), ("saxs", 30)):
        sources[beamline] = home.facility.experiment(beamline, "12282a")
        (sources[beamline] / "same-name").write_text(beamline)
        give(sources[beamline])
        home.visit("12282a", equipment=equipment)
    run = home.once()
    assert run.returncode == 1
    assert "another experiment has the same destination" in run.stdout
    assert "put {beamline} into destination-path" in run.stdout
    assert home.ignored == ""  # not all of the EPN is at home
    first, second = home.status("12282a")
    assert (first["state"], second["state"], second["id"]) == ("at home", "due", None)

    home.configure(
        equipment=[{"id": 23}, {"id": 30, "beamline": "saxs"}],
        destination_path="{project}/{epn}/{beamline}",
    )
    run = home.once()
    assert run.returncode == 0, run.stdout
    assert compare_trees(sources["saxs"], home.storage / "ny79" / "12282a" / "saxs") == []
    # What is complete at its old place stays there, and is named.
    assert compare_trees(sources["mx"], home.copy("12282a")) == []
    assert not (home.storage / "ny79" / "12282a" / "mx").exists()
    assert f"12282a (mx) is complete at another place: in {home.copy('12282a')}" in run.stdout
    assert "12282a" in home.ignored
