"""A lost catalogue is made again from what is at home, and nothing leaves the comparison."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from tests.conftest import Home
from tests.integration.test_obligations import mailed, measured, shown

DAYS = 60
"""How long ago the visits were: the portal is asked back less far."""


@pytest.fixture
def lost(home: Home) -> Home:
    """Two experiments are complete at home, their visits are long over, the catalogue is lost."""
    home.configure(visit_day_range=DAYS + 10)
    for epn in ("12282a", "12283b"):
        measured(home, epn)
        home.visit(epn, ended=24 * DAYS)
    assert home.once().returncode == 0
    home.configure(visit_day_range=30)
    for path in home.place.glob("catalogue.db*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert home.once().returncode == 5
    return home


def rebuilt(home: Home) -> tuple[int, str]:
    run = home.program.run("asynchy", "--config", home.config, "catalogue", "rebuild")
    return run.returncode, run.stdout


def at_home(home: Home) -> int:
    return sum(f"{epn} (mx): at home" in shown(home, epn) for epn in ("12282a", "12283b"))


def test_what_is_incomplete_at_home_is_fetched_however_old_its_visit_is(lost: Home) -> None:
    source = lost.facility.experiment("mx", "12282a")
    one = next(path for path in sorted(lost.copy("12282a").rglob("*")) if path.is_file())
    one.unlink()
    code, said = rebuilt(lost)
    assert code == 1
    assert "the next cycle fetches what is missing" in said
    assert "not complete when the catalogue was rebuilt" in shown(lost, "12282a")
    assert lost.once().returncode == 0
    assert compare_trees(source, lost.copy("12282a")) == []
    assert at_home(lost) == 2


def test_a_rebuild_without_the_facility_leaves_the_cycles_stopped(lost: Home) -> None:
    lost.facility.stop_sshd()
    code, said = rebuilt(lost)
    assert code == 4
    assert "Not everything was compared" in said
    assert "At home and not at the facility" not in said
    lost.facility.start_sshd()
    run = lost.once()
    assert run.returncode == 5
    assert "the facility could not be listed" in run.stderr
    doctor = lost.doctor()
    assert "Ready for the first cycle" not in doctor.stdout
    assert rebuilt(lost)[0] == 0
    assert lost.once().returncode == 0


def test_a_project_folder_that_was_not_mounted_is_rebuilt_once_it_is_back(lost: Home) -> None:
    folder, away = lost.storage / "ny79", lost.place / "away"
    folder.rename(away)
    lost.project("ny79")
    assert rebuilt(lost)[0] == 1
    assert "mount it" in lost.once().stderr
    folder.rmdir()
    away.rename(folder)
    run = lost.once()
    assert run.returncode == 5
    assert "and is back: what is at home in it was not compared yet" in run.stderr
    assert rebuilt(lost)[0] == 0
    assert lost.once().returncode == 0
    assert at_home(lost) == 2


def test_what_asynchy_noted_as_complete_and_is_not_at_home_is_named(lost: Home) -> None:
    shutil.rmtree(lost.copy("12282a").parent)
    code, said = rebuilt(lost)
    assert code == 1
    assert "Complete once, as ignore.yml says, and not at home" in said
    assert "12282a (mx)" in said and "12283b (mx)" not in said


@pytest.mark.parametrize("what", ["file", "link", "file above"])
def test_what_is_in_the_place_of_an_experiment_is_named(lost: Home, what: str) -> None:
    lost.configure(visit_day_range=DAYS + 10)
    place = lost.copy("12282a")
    blocker = place.parent if what == "file above" else place
    shutil.rmtree(blocker)
    blocker.symlink_to(lost.copy("12283b")) if what == "link" else blocker.write_text("mine")
    said_of_it = f"a symbolic link or a file is in its place at home: {blocker}"
    code, said = rebuilt(lost)
    assert code == 1
    assert said_of_it in " ".join(said.split())
    for _ in range(2):
        story = shown(lost, "12282a")
        assert said_of_it in story
        assert "next step: move it away" in story
        assert lost.once().returncode == 1
    blocker.unlink()
    assert lost.once().returncode == 0
    assert at_home(lost) == 2


def test_what_is_at_home_and_gone_from_the_facility_stays_known(lost: Home) -> None:
    source = lost.facility.experiment("mx", "12282a")
    away = Path(shutil.move(source, lost.place / "taken down"))
    code, said = rebuilt(lost)
    assert code == 1
    assert "At home and not at the facility" in said
    assert lost.once().returncode == 1
    story = shown(lost, "12282a")
    assert "12282a (mx): gone from the facility" in story
    why = "what is at home was not compared before it was gone from the facility"
    assert why in story and "copies forget 12282a" in story
    mail = mailed(lost)
    assert mail.returncode == 0
    assert f"12282a (mx): {why}: {lost.copy('12282a')}" in " ".join(mail.stdout.split())
    for form in ("table", "csv"):
        report = lost.program.run(
            "asynchy", "--config", lost.config, "report", "at-risk", "--format", form
        )
        assert report.returncode == 1
        assert "12282a" in report.stdout
    ignore = lost.place / "ignore.yml"
    entries = ignore.read_text()
    ignore.write_text(f"{entries}- 12282a\n")
    assert lost.once().returncode == 0
    ignore.write_text(entries)
    shutil.move(away, source)
    assert lost.once().returncode == 0
    assert "12282a (mx): at home" in shown(lost, "12282a")


@pytest.mark.parametrize(
    "command",
    [
        ("status", "12282a"),
        ("report", "at-risk"),
        ("report", "reconcile"),
        ("report", "activity"),
        ("verify",),
        ("audit",),
        ("copies", "list"),
        ("catalogue", "stats"),
        ("walk",),
        ("copies", "refetch", "12282a"),
    ],
)
def test_while_the_catalogue_is_lost_a_command_that_needs_it_says_so(
    lost: Home, command: tuple[str, ...]
) -> None:
    run = lost.program.run("asynchy", "--config", lost.config, *command)
    assert run.returncode == 5
    assert "catalogue.db is" in run.stderr and "says that it was used with it" in run.stderr
    assert "not seen yet" not in run.stdout and "no copies yet" not in run.stdout
    if command == ("walk",):
        assert not (lost.place / "catalogue.db").exists()
        assert lost.mxsync("--execute", "--once", "--new-state").returncode in (0, 1)
        assert lost.program.run("asynchy", "--config", lost.config, *command).returncode == 0
