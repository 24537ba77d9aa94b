"""What fails for one file or one folder, at home or at the facility, costs that alone."""

from __future__ import annotations

import os

import pytest

from simulator.experiments import mx_experiment
from tests.conftest import Home, give


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
@pytest.mark.parametrize("mode", [0o500, 0])
def test_a_folder_at_home_that_may_not_be_written_keeps_its_own_files_back(
    home: Home, engine: str, mode: int
) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    for name in ("closed", "other"):
        (source / name).mkdir()
        (source / name / "old").write_text("old")
    give(source)
    home.visit("12282a")
    home.configure(engine=engine)
    assert home.once().returncode == 0
    for name in ("closed", "other"):
        (source / name / "new").write_text("new")
    give(source)
    closed = home.copy("12282a") / "closed"
    closed.chmod(mode)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    for moved in (1, 0):
        run = home.once()
        assert run.returncode == 1
        assert (
            "closed/new: no permission to write at the destination (EACCES)"
            in run.stdout.replace("\n", " ")
            or "closed/old: no permission" in run.stdout.replace("\n", " ")
        )
        (row,) = home.status("12282a")
        assert row["last"]["files"] == moved
        assert row["last"]["verdict"] == "failed"
    assert (home.copy("12282a") / "other" / "new").read_text() == "new"
    closed.chmod(0o2770)
    assert home.once().returncode == 0
    assert (closed / "new").read_text() == "new"


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
@pytest.mark.parametrize("mode", [0, 0o600])
def test_what_people_change_is_known_beside_a_folder_that_is_closed(
    home: Home, engine: str, mode: int
) -> None:
    source = home.facility.experiment("mx", "12282a")
    for name in ("closed", "other"):
        (source / name).mkdir()
        (source / name / "old").write_text("old")
    give(source)
    home.visit("12282a")
    home.configure(engine=engine)
    assert home.once().returncode == 0
    copy = home.copy("12282a")
    for name in ("closed", "other"):
        (source / name / "new").write_text("new")
    give(source)
    (copy / "closed").chmod(mode)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    assert home.once().returncode == 1
    (copy / "other" / "new").write_text("a person's own words")
    assert home.once().returncode == 1
    (copy / "closed").chmod(0o2770)
    assert (copy / "other" / "new").read_text() == "a person's own words"
    assert "became smaller" not in home.log
    assert "b'" not in home.log


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_project_that_may_not_be_written_is_told_with_what_to_do(home: Home, engine: str) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=1, frame_bytes=10)
    give(source)
    home.visit("12282a")
    home.configure(engine=engine)
    (home.storage / "ny79").chmod(0o500)
    run = home.once()
    assert run.returncode == 1
    told = " ".join(run.stdout.split())
    assert "no permission to write at the destination (EACCES)" in told
    assert "make the project folder writable for the user that runs asynchy" in home.log


def test_a_damaged_file_that_cannot_be_moved_aside_keeps_no_other_damaged(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    for name in ("closed", "other"):
        (source / name).mkdir()
        (source / name / "x").write_text("good")
    give(source)
    home.visit("12282a")
    assert home.once().returncode == 0
    for name in ("closed", "other"):
        mine = home.copy("12282a") / name / "x"
        found = mine.stat()
        mine.write_text("evil")
        os.utime(mine, ns=(found.st_atime_ns, found.st_mtime_ns))
    closed = home.copy("12282a") / "closed"
    closed.chmod(0o500)
    verified = home.program.run("asynchy", "--config", home.config, "verify", "12282a", "--again")
    closed.chmod(0o2770)
    assert verified.returncode == 1
    assert (home.copy("12282a") / "other" / "x").read_text() == "good"
    assert (
        "closed/x differs from the facility's and cannot be moved aside: Permission denied"
        in verified.stderr
    )
    assert "b'" not in verified.stdout + verified.stderr


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_a_folder_at_the_facility_that_may_not_be_read_keeps_itself_back_alone(
    home: Home, engine: str
) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    (source / "closed" / "deep").mkdir(parents=True)
    for name in ("old", "older"):
        (source / "closed" / "deep" / name).write_text("old")
    give(source)
    home.visit("12282a")
    home.configure(engine=engine)
    why = "closed: it may not be read (EACCES)"

    (source / "closed").chmod(0)
    assert home.once().returncode == 1
    (row,) = home.status("12282a")
    assert (why in row["last"]["reason"], row["completed"]) == (True, None)
    (source / "closed").chmod(0o700)
    assert home.undisturbed(source)["files"] == 2  # all others were there

    (source / "closed").chmod(0o300)
    (source / "new").write_text("new")
    give(source / "new")
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    run = home.once()
    assert (run.returncode, why in run.stdout.replace("\n", " ")) == (1, True)
    copy = home.copy("12282a")
    assert (copy / "new").read_text() == "new"
    assert (copy / "closed" / "deep" / "old").read_text() == "old"
    for words in ("no longer lists", "lists less", "vanished"):
        assert words not in home.log
    (row,) = home.status("12282a")
    assert (why in row["last"]["reason"], row["last"]["files"]) == (True, 1)

    def asynchy(*arguments: str) -> str:
        run = home.program.run("asynchy", "--config", home.config, *arguments)
        assert run.returncode == (0 if arguments[0] == "audit" else 1), run.stdout + run.stderr
        return " ".join(run.stdout.split())

    assert why in asynchy("verify", "12282a", "--level", "source")
    assert "may be deleted" not in asynchy("report", "at-risk", "--all")
    asynchy("audit", "12282a")
    (copy / "closed" / "deep" / "older").unlink()  # whether it is still so there is not known
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    assert home.once().returncode == 1
    (row,) = home.status("12282a")
    assert row["last"]["reason"].startswith("1 folder could not be listed at the facility")
    assert not (copy / "closed" / "deep" / "older").exists()


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_each_file_that_may_not_be_read_at_the_facility_is_named_in_the_log(
    home: Home, engine: str
) -> None:
    source = home.facility.experiment("mx", "12282a")
    (source / "open").write_text("open")
    names = [f"closed-{number:02}" for number in range(25)]
    for name in names:
        (source / name).write_text(name)
    give(source)
    for name in names:
        (source / name).chmod(0)
    home.visit("12282a")
    home.configure(engine=engine)
    run = home.once()
    assert run.returncode == 1
    assert [name for name in names if name not in home.log] == []
    assert (home.copy("12282a") / "open").read_text() == "open"
