"""Our own state in trouble, and secrets: refused with words, nothing overwritten, nothing told."""

from __future__ import annotations

from simulator.experiments import mx_experiment
from tests.conftest import Home, give


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


def test_a_log_folder_that_is_not_there_is_a_clear_error(home: Home) -> None:
    prepared(home)
    (home.place / "logs").rmdir()
    run = home.once()
    assert run.returncode == 3
    assert "log-files" in run.stderr and "No such file" in run.stderr
