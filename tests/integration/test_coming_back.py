"""What is due again: further visits, hand edits of ignore.yml."""

from __future__ import annotations

from simulator.compare import compare_trees
from simulator.experiments import mx_experiment
from tests.conftest import Home, give


def prepared(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    give(source)
    home.visit("12282a", ended=48)


def test_an_epn_that_was_completed_is_due_again_when_a_further_visit_has_ended(home: Home) -> None:
    prepared(home)
    assert home.once().returncode == 0
    assert "Nothing to transfer." in home.once().stdout

    source = home.facility.experiment("mx", "12282a")
    (source / "second-visit.h5").write_bytes(b"new data")
    give(source)
    home.visit("12282a", ended=-0.0005, hours=8)  # ends two seconds from now
    while "a visit is running" in (run := home.once()).stdout:
        assert run.returncode == 0
    assert run.returncode == 0
    assert compare_trees(source, home.copy("12282a")) == []
    assert len(home.status("12282a")[0]["history"]) == 2


def test_an_entry_made_by_hand_skips_and_removing_one_fetches_again(home: Home) -> None:
    prepared(home)
    ignore = home.place / "ignore.yml"
    ignore.write_text("# ours\npreviouslySynched:\n  - 12282a  # not needed, says Ada\n")
    give(ignore)
    skipped = home.once()
    assert skipped.returncode == 0
    assert "listed in ignore.yml" in skipped.stdout
    assert not home.copy("12282a").exists()

    ignore.write_text("# ours\npreviouslySynched: []\n")
    assert home.once().returncode == 0
    assert home.copy("12282a").exists()
    assert home.ignored.startswith("# ours\n")
    assert "12282a" in home.ignored

    ignore.write_text("previouslySynched:\n- 8020l\n")
    again = home.once()
    assert again.returncode == 0
    assert "complete" in again.stdout
    assert home.ignored == "previouslySynched:\n- 8020l\n- 12282a # asynchy\n"


def test_a_broken_ignore_list_stops_the_run_and_stays_as_it_is(home: Home) -> None:
    prepared(home)
    ignore = home.place / "ignore.yml"
    ignore.write_text("previouslySynched: [12282a\n")
    give(ignore)
    run = home.once()
    assert run.returncode == 5
    assert f"{ignore}:" in run.stderr and "What to do:" in run.stderr
    assert ignore.read_text() == "previouslySynched: [12282a\n"
    assert not home.copy("12282a").exists()
