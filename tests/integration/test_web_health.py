"""What the page Health knows without asking the facility: the last doctor, the last cycle."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from asynchy.catalogue import Catalogue
from simulator.experiments import mx_experiment
from tests.conftest import Home, Program, give
from tests.tools.dashboard import MadeHome


def complete_cycle(home: Home) -> datetime | None:
    return Catalogue.open_readonly(home.place / "catalogue.db").health.complete_cycle()


def test_what_the_doctor_found_is_on_the_page_until_it_runs_again(place: Path) -> None:
    home = MadeHome(place, Program(place))
    home.experiment("2a", reason="the connection to the server was lost")
    token = home.token("lea")
    with home.serving() as browser:
        browser.log_in(token)
        assert "asynchy doctor has not run yet" in browser.text("/health")
        home.storage.rename(place / "away")
        found = home.asynchy("doctor")
        assert found.returncode == 1
        text = browser.text("/health")
        assert "destination: " in text and "What to do: mount it, or correct the config" in text
        failed = text.partition("asynchy doctor: ")[2].partition(" check")[0]
        assert int(failed) == found.stdout.count("\nFAIL ")
        (place / "away").rename(home.storage)
        assert home.asynchy("doctor").returncode == 1
        assert "mount it, or correct the config" not in browser.text("/health")
        assert "the connection was lost 0 1 1 2a mx" in browser.text("/health")
        metrics = browser.get("/metrics").data.decode()
    assert 'asynchy_errors{cause="connection"} 0.0' in metrics  # it is a day old
    assert "asynchy_doctor_failed_checks " in metrics and "asynchy_connections 0.0" in metrics


def test_the_doctor_makes_no_catalogue_to_keep_what_it_found(place: Path) -> None:
    home = MadeHome(place, Program(place))
    home.catalogue_path.unlink()
    home.asynchy("doctor")
    assert not home.catalogue_path.exists()


def test_a_cycle_counts_as_complete_only_if_the_portal_told_all(home: Home) -> None:
    mx_experiment(home.facility.experiment("mx", "12282a"), "12282a", frames=1, frame_bytes=10)
    give(home.facility.data)
    home.visit("12282a")
    home.facility.portal.set_fault("status", path="visits", code=500)
    assert home.once().returncode == 4
    assert complete_cycle(home) is None
    home.facility.portal.clear_faults()
    assert home.once().returncode == 0
    first = complete_cycle(home)
    assert first is not None
    home.facility.portal.set_fault("status", path="visits", code=500)
    assert home.once().returncode == 4
    assert complete_cycle(home) == first
