"""`ignore.yml` or the catalogue is missing: which one, where to look, what is left alone."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from asynchy.catalogue.state_markers import Markers, StateMarkers
from asynchy.config.ignore_file import IgnoreEntries
from asynchy.errors import ExitCode
from asynchy.model.epn import Epn
from asynchy.model.policy import DestinationRules
from asynchy.repatriation.home_places import data_at_home, holds_data
from asynchy.repatriation.lost_state import LostState, StateFiles, begin, lost_error
from tests.tools.catalogues import new_catalogue

NEVER = Markers()
IN_USE = Markers(in_use=True)


def state_files(
    place: Path, entries: IgnoreEntries, markers: Markers, catalogue: str = "catalogue.db"
) -> StateFiles:
    return StateFiles(place / "ignore.yml", place / catalogue, entries, markers)


def known(place: Path, entries: int = 3) -> Markers:
    return Markers(True, str(place / "ignore.yml"), entries, str(place / "ignore.yml"))


LIST = IgnoreEntries(has_list=True)
NO_LIST = IgnoreEntries()
NAMES = IgnoreEntries(has_list=True, catalogue="/var/catalogue.db")
OURS = IgnoreEntries(frozenset({Epn("1a")}), frozenset({Epn("1a")}), has_list=True)
DATA = [Path("/projects/ny79/12282a/data")]


@pytest.mark.parametrize(
    ("entries", "markers", "at_home", "lost"),
    [
        (NO_LIST, NEVER, [], None),  # the first start
        (LIST, NEVER, DATA, None),  # taken over from the original
        (NO_LIST, NEVER, DATA, LostState.BOTH),
        (NAMES, NEVER, [], LostState.CATALOGUE),
        (NAMES, NEVER, DATA, LostState.CATALOGUE),
        (IgnoreEntries(catalogue="/c.db"), NEVER, [], LostState.CATALOGUE),  # the list was removed
        (OURS, NEVER, [], LostState.CATALOGUE),  # our comment was removed
        (OURS, IN_USE, [], None),
        (LIST, IN_USE, DATA, None),
        (NAMES, IN_USE, DATA, None),
        (NO_LIST, IN_USE, DATA, None),  # an ignore.yml was never needed
        (NO_LIST, Markers(True, "/ignore.yml", 0), DATA, None),
        (NO_LIST, Markers(True, "/ignore.yml", 1), [], LostState.IGNORE_FILE),
        (LIST, Markers(True, "/ignore.yml", 9), [], None),  # emptied by a person
        (LIST, Markers(True, "/elsewhere.yml", 9), [], None),  # moved with its config
    ],
)
def test_what_is_lost_follows_from_what_each_says_of_the_other(
    entries: IgnoreEntries, markers: Markers, at_home: list[Path], lost: LostState | None
) -> None:
    assert state_files(Path("/var"), entries, markers).lost(at_home) is lost


def test_with_a_list_and_a_catalogue_in_use_nothing_is_ever_lost() -> None:
    for catalogue, entries, at_home in itertools.product((None, "/c.db"), (0, 5), ([], DATA)):
        files = state_files(
            Path("/var"),
            IgnoreEntries(has_list=True, catalogue=catalogue),
            Markers(True, "/i", entries),
        )
        assert files.lost(at_home) is None


def test_a_lost_ignore_file_in_an_empty_folder_names_folder_and_catalogue(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.mkdir()
    for name in (".ignore.yml.lock", "sync.log", "catalogue.db.service"):
        (place / name).touch()
    error = lost_error(state_files(place, NO_LIST, known(place)))
    assert error is not None and error.exit_code is ExitCode.STATE_ERROR
    assert f"{place}/ignore.yml is missing or empty" in error.message
    assert f"{place}/catalogue.db was used with it, which had 3 entries" in error.message
    assert f"The folder {place} is empty: is a file system not mounted there?" in error.message
    assert error.hint and "--new-state" in error.hint and "backup" in error.hint


def test_a_lost_ignore_file_beside_other_files_blames_no_mount(tmp_path: Path) -> None:
    (tmp_path / "config.yml").touch()
    error = lost_error(state_files(tmp_path, NO_LIST, known(tmp_path)))
    assert error is not None and "mounted" not in error.message


def test_a_folder_that_is_not_there_is_named_with_the_empty_one_above(tmp_path: Path) -> None:
    place = tmp_path / "mount" / "state"
    place.parent.mkdir()
    error = lost_error(state_files(place, NO_LIST, known(place)))
    assert error is not None
    assert f"There is no folder {place}, and {place.parent} is empty" in error.message


def test_an_ignore_file_of_another_path_that_still_exists_is_named(tmp_path: Path) -> None:
    old = tmp_path / "old-ignore.yml"
    old.touch()
    error = lost_error(state_files(tmp_path, NO_LIST, Markers(True, str(old), 2)))
    assert error is not None and f"was used with {old}, which had 2 entries" in error.message
    assert error.hint and f"name {old} as `ignore` in the config, or move it to" in error.hint


def test_a_lost_catalogue_names_the_one_that_ignore_yml_was_used_with(tmp_path: Path) -> None:
    error = lost_error(state_files(tmp_path, NAMES, NEVER))
    assert error is not None and error.exit_code is ExitCode.STATE_ERROR
    assert f"{tmp_path}/catalogue.db is missing or empty" in error.message
    assert f"{tmp_path}/ignore.yml says that it was used with /var/catalogue.db" in error.message
    assert error.hint and "asynchy catalogue rebuild" in error.hint


PLAIN = IgnoreEntries(frozenset({Epn("1a")}), has_list=True)


@pytest.mark.parametrize("entries", [PLAIN, NO_LIST], ids=["without our comments", "no list"])
def test_backups_beside_it_tell_that_there_was_a_catalogue(
    tmp_path: Path, entries: IgnoreEntries
) -> None:
    files = state_files(tmp_path, entries, NEVER)
    assert lost_error(files) is None
    error = lost_error(replace(files, has_backups=True))
    assert error is not None
    assert (
        f"backups of it are in {tmp_path}/catalogue.db.backups, so there was one" in error.message
    )
    assert lost_error(replace(files, has_backups=True, markers=IN_USE)) is None
    assert lost_error(replace(files, has_backups=True, entries=LIST)) is None  # emptied, too


def test_entries_of_ours_tell_that_there_was_a_catalogue(tmp_path: Path) -> None:
    error = lost_error(state_files(tmp_path, OURS, NEVER))
    assert error is not None and "has entries that asynchy wrote (`# asynchy`)" in error.message


def test_both_missing_is_an_error_only_if_an_experiment_has_data_at_home(tmp_path: Path) -> None:
    rules = DestinationRules({"1": "ny79"}, "/d/{epn}", tmp_path, "{project}/{epn}/data")
    places = [tmp_path / "ny79" / name / "data" for name in ("1a", "2b", "notes", "3c")]
    for place in places:
        place.mkdir(parents=True)
    files = state_files(tmp_path / "state", NO_LIST, NEVER)
    assert lost_error(files, data_at_home(rules)) is None
    for place in places[:3]:
        (place / "frames").mkdir()
    error = lost_error(files, data_at_home(rules))
    assert error is not None
    assert f"data of an experiment are in {places[0]} (and 1 more place)" in error.message
    assert f"{tmp_path}/state/ignore.yml" in error.message
    assert f"{tmp_path}/state/catalogue.db" in error.message
    assert error.message.count("There is no folder") == 1


def test_a_project_folder_that_a_rebuild_did_not_find_stops_cycles_until_it_was_rebuilt(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "projects" / "ny79"
    catalogue = new_catalogue(tmp_path / "catalogue.db").path

    def files() -> StateFiles:
        return state_files(tmp_path, LIST, StateMarkers.open_readonly(catalogue).read())

    begin(files(), [folder, tmp_path / "projects" / "kx12"])
    error = lost_error(files())
    assert error is not None and error.exit_code is ExitCode.STATE_ERROR
    assert f"{folder} (and 1 more folder) was missing or empty" in error.message
    assert error.hint and "--new-state" in error.hint
    for project in ("ny79", "kx12"):
        (tmp_path / "projects" / project / "1a").mkdir(parents=True)
    error = lost_error(files())
    assert error is not None and "is back" in error.message
    assert error.hint and "run `asynchy catalogue rebuild` again" in error.hint
    begin(files(), [folder])  # one of the two was rebuilt
    shutil.rmtree(folder)
    error = lost_error(files())
    assert error is not None and f"{folder} was missing" in error.message
    begin(files())  # accepted by a person
    assert lost_error(files()) is None


def test_a_new_catalogue_that_was_rebuilt_without_the_facility_stops_cycles(tmp_path: Path) -> None:
    catalogue = new_catalogue(tmp_path / "catalogue.db").path

    def files() -> StateFiles:
        return state_files(tmp_path, NAMES, StateMarkers.open_readonly(catalogue).read())

    for _ in range(2):
        begin(files(), (), ["SFTP service: no connection"])
        error = lost_error(files())
        assert error is not None and error.exit_code is ExitCode.STATE_ERROR
        assert "the facility could not be listed" in error.message
        assert "SFTP service: no connection" in error.message
    begin(files())  # rebuilt once more, or accepted by a person
    assert lost_error(files()) is None
    begin(files(), (), ["SFTP service: no connection"])  # it knows what is at home
    assert lost_error(files()) is None


def test_destinations_are_not_looked_at_while_nothing_is_missing(tmp_path: Path) -> None:
    def never() -> object:
        raise AssertionError("a copy of 10 million files is not looked at for nothing")
        yield

    for entries, markers in ((LIST, NEVER), (LIST, IN_USE), (NO_LIST, IN_USE)):
        assert lost_error(state_files(tmp_path, entries, markers), never()) is None  # type: ignore[arg-type]


def test_a_file_or_nothing_in_place_of_a_destination_holds_no_data(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not holds_data(tmp_path / "file")
    assert not holds_data(tmp_path / "nowhere")
    assert holds_data(tmp_path)
