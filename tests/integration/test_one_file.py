"""One file that has no place at home costs itself alone."""

from __future__ import annotations

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
