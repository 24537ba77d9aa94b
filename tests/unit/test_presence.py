"""Whether what the catalogue calls complete is at its place: one look for each copy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment import Copy
from asynchy.model.experiment_state import experiment_state
from asynchy.model.plan import SkipReason
from asynchy.model.policy import DestinationRules, unmounted_folders
from asynchy.model.verification import CopyFile, Level
from asynchy.reporting.presence import copies_with_presence, count_absent, with_presence
from tests.tools.records import copy_of, experiment_of, policy_of, record_of, visit

LAYOUT = "{project}/{beamline}/{epn}"


def copy_in(project: Path, **changes: Any) -> CopyRecord:
    place = Copy(experiment_of(), "ny79", "/data/mx/1a", project, project / "1a" / "data")
    return replace(copy_of(place), **changes)


def seen(copy: CopyRecord) -> Presence:
    (found,) = copies_with_presence([copy])
    assert found == replace(copy, presence=found.presence, mount=found.mount)
    return found.presence


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with the data of another experiment."""
    (tmp_path / "ny79" / "2b").mkdir(parents=True)
    return tmp_path / "ny79"


def test_a_folder_with_anything_in_it_is_there(project: Path) -> None:
    (project / "1a" / "data" / "frames").mkdir(parents=True)
    assert seen(copy_in(project)) is Presence.THERE
    assert seen(copy_in(project, completed=None, suspect=True)) is Presence.THERE


def test_an_empty_folder_is_there_only_if_the_copy_had_no_files(project: Path) -> None:
    (project / "1a" / "data").mkdir(parents=True)
    assert seen(copy_in(project)) is Presence.EMPTY
    assert seen(copy_in(project, files=0)) is Presence.THERE
    assert seen(copy_in(project, files=None)) is Presence.THERE


@pytest.mark.parametrize("parent", [False, True])
def test_a_folder_that_is_not_there_is_missing_while_its_project_is(
    project: Path, parent: bool
) -> None:
    if parent:
        (project / "1a").mkdir()
    assert seen(copy_in(project)) is Presence.MISSING


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "empty"])
@pytest.mark.parametrize("number", [1, 2])
def test_nothing_new_goes_to_a_place_below_a_project_from_which_all_copies_are_gone(
    project: Path, number: int, made: bool
) -> None:
    """The folder may be a mount point, and an automounter removes it with the mount."""
    rules = DestinationRules({"1": "ny79"}, "/data/{beamline}/{epn}", project.parent, LAYOUT)
    epns = ("1a", "1b")[:number]
    records = []
    for epn in epns:
        record = record_of(visit(epn, -17, -9), epn=epn)
        records.append(replace(record, copies=(copy_of(rules.copy_of(record, "ny79")),)))
    new = record_of(visit("1c", -17, -9), epn="1c")
    other = record_of(experiment=experiment_of("1a", "saxs"))
    other = replace(other, copies=(copy_of(rules.copy_of(other, "ny79"), files=0),))
    (project / "saxs" / "1a").mkdir(parents=True)
    if made:
        (project / "mx").mkdir()
    looked = with_presence([other, *records, new])
    policy = replace(policy_of(*looked), rules=rules, unmounted=unmounted_folders(looked))
    _, *held, fresh = [experiment_state(record, policy) for record in looked]
    lost = SkipReason.COPY_MISSING if number == 1 else SkipReason.UNMOUNTED
    assert {item.left for item in held} == {lost}
    assert (fresh.left, fresh.reason) == (SkipReason.UNMOUNTED, str(project / "mx"))
    (project / "mx" / "1a").mkdir(parents=True)  # mounted again
    (project / "mx" / "1a" / "file").touch()
    looked = with_presence([other, *records, new])
    policy = replace(policy, unmounted=unmounted_folders(looked))
    assert experiment_state(looked[-1], policy).left is None


def test_a_file_in_its_place_is_not_the_copy(project: Path) -> None:
    (project / "1a").mkdir()
    (project / "1a" / "data").write_text("x")
    assert seen(copy_in(project)) is Presence.FILE
    (project / "1a" / "data").unlink()
    (project / "1a").rmdir()
    (project / "1a").write_text("x")
    assert seen(copy_in(project)) is Presence.FILE


@pytest.mark.parametrize("made", [False, True])
def test_below_a_project_folder_that_is_missing_or_empty_nothing_is_known(
    tmp_path: Path, made: bool
) -> None:
    project = tmp_path / "gone"
    if made:
        project.mkdir()
    assert seen(copy_in(project)) is Presence.UNMOUNTED


@pytest.mark.parametrize("marker", ["lost+found", ".not_mounted", ".snapshot", "NOT MOUNTED.txt"])
def test_a_marker_in_a_mount_point_is_no_sign_of_the_mount(project: Path, marker: str) -> None:
    (project / "2b").rmdir()
    place = project / marker
    place.mkdir() if marker in ("lost+found", ".snapshot") else place.touch()
    assert seen(copy_in(project)) is Presence.UNMOUNTED


def other_copy(project: Path, epn: str, **changes: Any) -> CopyRecord:
    place = Copy(experiment_of(epn), "ny79", f"/data/mx/{epn}", project, project / epn / "data")
    return replace(copy_of(place), **changes)


def test_below_a_folder_without_any_part_of_several_copies_nothing_is_known(project: Path) -> None:
    copies = [copy_in(project), other_copy(project, "1b")]
    gone = [Presence.UNMOUNTED] * 2
    assert [one.presence for one in copies_with_presence(copies)] == gone
    places = [one.copy.destination for one in copies]
    (one,) = copies_with_presence(copies[:1], lambda _folder: places)
    assert one.presence is Presence.UNMOUNTED
    (project / "1b").mkdir()  # the copy alone was removed there
    assert [one.presence for one in copies_with_presence(copies)] == [Presence.MISSING] * 2


def test_one_copy_that_is_missing_beside_others_is_missing(project: Path) -> None:
    never = other_copy(project, "1b", completed=None)
    found = copies_with_presence([copy_in(project), never])
    assert found[0].presence is Presence.MISSING


def test_files_that_are_looked_for_are_there_with_their_size_and_time(project: Path) -> None:
    place = project / "1a" / "data"
    place.mkdir(parents=True)
    files = []
    for name in ("a", "b", "c"):
        (place / name).write_text("x")
        found = (place / name).stat()
        when = datetime.fromtimestamp(0, UTC)
        held = CopyFile(name.encode(), 1, found.st_mtime_ns // 10**9, Level.SIZE, when, None, None)
        files.append(held)
    assert count_absent(copy_in(project), files) == 0
    (place / "a").unlink()
    (place / "b").write_text("more")
    assert count_absent(copy_in(project), files) == 2
    place.rename(project / "away")
    assert count_absent(copy_in(project), files) == 3


def test_a_link_in_its_place_is_not_followed(project: Path) -> None:
    (project / "1a").mkdir()
    (project / "1a" / "data").symlink_to(project / "2b")
    assert seen(copy_in(project)) is Presence.LINK


def test_a_folder_that_cannot_be_read_is_said_to_be_so(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "1a" / "data").mkdir(parents=True)

    def refuse(_folder: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)  # root may read everything
    assert seen(copy_in(project)) is Presence.UNREADABLE


def test_what_was_never_complete_is_not_looked_at(project: Path) -> None:
    assert seen(copy_in(project, completed=None)) is Presence.THERE


def test_the_folder_above_is_looked_at_once_for_many_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def holds_folders(folder: Path) -> bool:
        looked.append(folder)
        return False

    monkeypatch.setattr("asynchy.reporting.presence.holds_folders", holds_folders)
    copies = [copy_in(tmp_path / "gone")] * 50
    assert {one.presence for one in copies_with_presence(copies)} == {Presence.UNMOUNTED}
    assert looked == [tmp_path / "gone", tmp_path]  # and what is above it, for its name


def test_records_get_what_is_at_the_places_of_their_copies(project: Path) -> None:
    absent, never = copy_in(project), copy_in(project, completed=None)
    first, second = with_presence([record_of(copies=(absent, never)), record_of(epn="1b")])
    assert [one.presence for one in first.copies] == [Presence.MISSING, Presence.THERE]
    assert second == record_of(epn="1b")


def test_several_projects_below_one_missing_or_empty_folder_name_it_alone(tmp_path: Path) -> None:
    storage = tmp_path / "group" / "storage"
    copies = [copy_in(storage / name) for name in ("ny79", "kx12")]
    (tmp_path / "other").mkdir()
    gone = copies_with_presence(copies)
    assert [(one.presence, one.mount) for one in gone] == [
        (Presence.UNMOUNTED, tmp_path / "group")
    ] * 2
    storage.mkdir(parents=True)
    assert {one.mount for one in copies_with_presence(copies)} == {storage}
    (storage / "other").mkdir()  # the file system is there, so each project is named
    assert [one.mount for one in copies_with_presence(copies)] == [
        storage / "ny79", storage / "kx12",
    ]  # fmt: skip


def test_a_folder_below_the_project_that_has_nothing_of_several_copies_is_a_missing_mount(
    project: Path,
) -> None:
    nested = project / "mx"
    places = [Copy(experiment_of(epn), "ny79", "", project, nested / epn) for epn in ("1a", "1b")]
    copies = [copy_of(place) for place in places]
    nested.mkdir()
    found = copies_with_presence(copies)
    assert [(one.presence, one.mount) for one in found] == [(Presence.UNMOUNTED, nested)] * 2
    assert unmounted_folders([record_of(copies=tuple(found))]) == {nested: nested}
    assert seen(copies[0]) is Presence.MISSING  # a single copy may have been moved
    (nested / "1b").mkdir()
    assert copies_with_presence(copies)[0].presence is Presence.MISSING


def test_what_is_below_a_missing_mount_is_not_fetched_to(project: Path) -> None:
    place = project / "mx" / "1a"
    wanted = wanted_at(place)
    state = experiment_state(
        record_of(visit("1a", -17, -9)),
        policy_of(rules=wanted, unmounted={project / "mx": project / "mx"}),
    )
    assert (state.left, state.reason) == (SkipReason.UNMOUNTED, str(project / "mx"))


def wanted_at(place: Path) -> DestinationRules:
    root = place.parents[2]
    return DestinationRules({"1": "ny79"}, "/data/{beamline}/{epn}", root, "{project}/mx/{epn}")
