"""The facility moves, renames and archives folders; the portal corrects visits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulator.compare import compare_trees
from simulator.experiments import mx_experiment
from simulator.scratch import remove
from tests.conftest import Home, give

NOW = datetime.now(UTC).replace(microsecond=0)
EQUIPMENT = [{"id": 23, "beamline": "mx1"}, {"id": 24, "beamline": "mx2"}]


def measured(home: Home, epn: str, folder: Path, frames: int = 1) -> Path:
    """Data of an experiment in a folder at the facility."""
    source = folder / epn
    source.mkdir(parents=True)
    mx_experiment(source, epn, frames=frames, frame_bytes=1000)
    give(home.facility.data)
    return source


def tell(home: Home, *visits: tuple[int, str, int, int]) -> None:
    """The portal tells these visits alone: equipment, EPN, id, and how many days ago it began."""
    home.facility.portal.clear_visits()
    for equipment, epn, number, days in visits:
        start = NOW - timedelta(days=days)
        end = start + timedelta(days=1)
        home.facility.portal.add_visit(
            equipment=equipment, epn=epn, start=start, end=end, id=number
        )


def settle(home: Home) -> None:
    for _ in range(2):
        run = home.once()
        assert run.returncode == 0, run.stdout + run.stderr


def reconciled(home: Home) -> str:
    run = home.program.run("asynchy", "--config", home.config, "report", "reconcile")
    return run.stdout


def test_what_is_new_at_a_new_path_is_fetched_before_anything_may_be_deleted(home: Home) -> None:
    data = home.facility.data
    source = measured(home, "12282a", data / "mx")
    home.visit("12282a", ended=480)
    home.configure(accept_left_out=True)
    settle(home)
    verify = home.program.run("asynchy", "--config", home.config, "verify", "12282a")
    assert verify.returncode == 0 and "yes: " in reconciled(home)
    (data / "new" / "mx").mkdir(parents=True)
    moved = source.rename(data / "new" / "mx" / "12282a")
    (moved / "more.h5").write_bytes(b"more")
    give(data)
    home.configure(source_path=f"{data}/new/{{beamline}}/{{epn}}/", accept_left_out=True)
    settle(home)
    assert compare_trees(moved, home.copy("12282a")) == []
    assert "yes: " not in reconciled(home)  # what is new was not verified


@pytest.mark.parametrize(("old", "new"), [("mx1", "mx2"), ("mx2", "mx1")])
def test_what_follows_its_visit_to_another_beamline_is_compared_and_not_fetched_again(
    home: Home, old: str, new: str
) -> None:
    ids = {entry["beamline"]: int(str(entry["id"])) for entry in EQUIPMENT}
    home.configure(equipment=EQUIPMENT, destination_path="{project}/{beamline}/{epn}")
    source = measured(home, "12282a", home.facility.data / old)
    measured(home, "12283a", home.facility.data / old)
    measured(home, "8020l", home.facility.data / new)
    others = [(ids[old], "12283a", 905, 15), (ids[new], "8020l", 902, 20)]
    tell(home, *others, (ids[old], "12282a", 901, 13))
    settle(home)
    moved = source.rename(home.facility.data / new / "12282a")
    (moved / "right.h5").write_bytes(b"right")
    give(home.facility.data)
    tell(home, *others, (ids[new], "12282a", 901, 13))
    settle(home)
    assert [one.parent.name for one in home.storage.rglob("12282a")] == [old]
    assert compare_trees(moved, home.storage / "ny79" / old / "12282a") == []


def test_a_visit_told_on_its_new_beamline_before_the_old_one_is_corrected_leaves_one_experiment(
    home: Home,
) -> None:
    home.configure(equipment=EQUIPMENT, destination_path="{project}/{beamline}/{epn}")
    source = measured(home, "12282a", home.facility.data / "mx1")
    measured(home, "12283a", home.facility.data / "mx1")
    measured(home, "8020l", home.facility.data / "mx2")
    other = (24, "8020l", 902, 20)
    tell(home, other, (23, "12282a", 901, 13))
    settle(home)
    tell(home, other, (24, "12282a", 901, 13))  # of equipment 23 nothing is told, for once
    assert home.once().returncode == 4
    source.rename(home.facility.data / "mx2" / "12282a")
    tell(home, other, (24, "12282a", 901, 13), (23, "12283a", 905, 15))
    settle(home)
    assert [one.parent.name for one in home.storage.rglob("12282a")] == ["mx1"]
    assert {row["beamline"] for row in home.status("12282a")} == {"mx2"}


def test_one_of_two_visits_on_another_beamline_is_another_experiment(home: Home) -> None:
    home.configure(equipment=EQUIPMENT, destination_path="{project}/{beamline}/{epn}")
    first = measured(home, "12282a", home.facility.data / "mx1")
    measured(home, "8020l", home.facility.data / "mx2")
    stay = [(23, "12282a", 900, 20), (24, "8020l", 902, 30)]
    tell(home, *stay, (23, "12282a", 901, 3))
    settle(home)
    remove(first)
    settle(home)
    tell(home, *stay, (24, "12282a", 901, 3))
    second = measured(home, "12282a", home.facility.data / "mx2", frames=3)
    settle(home)
    assert sorted(one.parent.name for one in home.storage.rglob("12282a")) == ["mx1", "mx2"]
    assert compare_trees(second, home.storage / "ny79" / "mx2" / "12282a") == []
    found = {row["beamline"]: row["state"] for row in home.status("12282a")}
    assert found == {"mx1": "gone from the facility", "mx2": "at home"}


def test_a_tree_that_has_two_paths_is_no_second_folder(home: Home) -> None:
    data = home.facility.data
    (data / "link").symlink_to(data / "real", target_is_directory=True)
    source = measured(home, "12282a", data / "real" / "mx")
    home.visit("12282a", ended=480)
    home.configure(source_path=f"{data}/link/{{beamline}}/{{epn}}/", walk_root=str(data / "real"))
    settle(home)
    for _ in range(2):
        walk = home.program.run("as-walker", "--config", home.config)
        assert walk.returncode == 0, walk.stdout + walk.stderr
        settle(home)
    (row,) = home.status("12282a")
    assert (row["attempts"], row["events"]) == (1, [])  # nothing moved, so nothing is compared
    assert compare_trees(source, home.copy("12282a")) == []


def test_what_a_walk_finds_in_an_archive_is_compared_there(home: Home) -> None:
    data = home.facility.data
    source = measured(home, "12282a", data / "mx")
    measured(home, "12283a", data / "mx")
    home.visit("12282a", ended=480)
    home.visit("12283a", ended=481)
    settle(home)
    (data / "archive" / "mx").mkdir(parents=True)
    moved = source.rename(data / "archive" / "mx" / "12282a")
    (moved / "late.h5").write_bytes(b"late")
    give(data)
    settle(home)
    home.configure(walk_root=str(data / "archive"))
    assert home.program.run("as-walker", "--config", home.config).returncode == 0
    settle(home)
    assert compare_trees(moved, home.copy("12282a")) == []


def test_a_beamline_with_another_name_keeps_what_left_the_range_of_visits(home: Home) -> None:
    data = home.facility.data
    for epn, ended in (("12282a", 480), ("12283a", 1500)):
        measured(home, epn, data / "mx")
        home.visit(epn, ended=ended)
    home.configure(visit_day_range=90)
    settle(home)
    (data / "mx").rename(data / "mx1")
    home.configure(beamline="mx1", visit_day_range=30)
    settle(home)
    found = [(row["epn"], row["beamline"], row["attempts"]) for row in home.status()]
    assert found == [("12282a", "mx1", 2), ("12283a", "mx1", 2)]


@pytest.mark.parametrize("is_flat", [True, False])
def test_what_was_seen_is_due_though_its_visit_was_called_off(home: Home, is_flat: bool) -> None:
    data = home.facility.data
    folder = data if is_flat else data / "mx"
    keys: dict[str, Any] = {"source_path": f"{data}/{{epn}}/"} if is_flat else {}
    home.configure(epn_cap_map={"12283": "ny79"}, **keys)
    measured(home, "12282a", folder)
    measured(home, "12283a", folder)
    tell(home, (23, "12282a", 901, 3), (23, "12283a", 902, 4))
    assert home.once().returncode == 1
    tell(home, (23, "12283a", 902, 4))
    assert home.once().returncode == 1
    home.configure(epn_cap_map={"12282": "ny79", "12283": "ny79"}, **keys)
    settle(home)
    assert home.copy("12282a").exists()


def test_cycle_that_compares_what_moved_names_a_second_folder_and_ends_with_1(home: Home) -> None:
    data = home.facility.data
    old = measured(home, "12282a", data / "mx")
    home.visit("12282a", ended=480)
    settle(home)
    new = measured(home, "12282a", data / "new" / "mx", frames=2)
    home.configure(source_path=f"{data}/new/{{beamline}}/{{epn}}/")
    said = f"the facility has a second folder of the same EPN, which is not fetched: {old}"
    for times in range(2):
        run = home.once()
        assert (run.returncode, said in " ".join(run.stdout.split())) == (1, True), run.stdout
        assert ("1 experiment completed" in run.stdout) == (times == 0)
    assert compare_trees(new, home.copy("12282a")) == []


def test_beamline_renamed_without_any_visit_is_not_guessed_and_comes_to_its_own_place(
    home: Home,
) -> None:
    data = home.facility.data
    measured(home, "12282a", data / "mx")
    home.configure(fetch_visible=True)
    settle(home)
    source = (data / "mx").rename(data / "mx1") / "12282a"
    renamed: dict[str, Any] = {"beamline": "mx1", "equipment": [{"id": 23, "beamline": "mx1"}]}
    home.configure(fetch_visible=True, **renamed)
    run = home.once()  # it may be another experiment
    assert (run.returncode, "belongs to 12282a (mx)" in run.stdout) == (1, True)
    home.configure(fetch_visible=True, destination_path="{project}/{beamline}/{epn}", **renamed)
    settle(home)
    assert compare_trees(source, home.storage / "ny79" / "mx1" / "12282a") == []
