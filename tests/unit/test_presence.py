"""Whether what the catalogue calls complete is at its place: one look for each copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asynchy.domain.copy_record import CopyRecord, Presence
from asynchy.domain.experiment import Copy
from asynchy.service.presence import copies_with_presence, with_presence
from tests.tools.records import copy_of, experiment_of, record_of


def copy_in(project: Path, **changes: Any) -> CopyRecord:
    place = Copy(experiment_of(), "ny79", "/data/mx/1a", project, project / "1a" / "data")
    return replace(copy_of(place), **changes)


def seen(copy: CopyRecord) -> Presence:
    (found,) = copies_with_presence([copy])
    assert found == replace(copy, presence=found.presence)
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


def test_a_file_in_its_place_is_not_the_copy(project: Path) -> None:
    (project / "1a").mkdir()
    (project / "1a" / "data").write_text("x")
    assert seen(copy_in(project)) is Presence.MISSING
    (project / "1a" / "data").unlink()
    (project / "1a").rmdir()
    (project / "1a").write_text("x")
    assert seen(copy_in(project)) is Presence.MISSING


@pytest.mark.parametrize("made", [False, True])
def test_below_a_project_folder_that_is_missing_or_empty_nothing_is_known(
    tmp_path: Path, made: bool
) -> None:
    project = tmp_path / "gone"
    if made:
        project.mkdir()
    assert seen(copy_in(project)) is Presence.UNMOUNTED


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

    def is_empty(folder: Path) -> bool:
        looked.append(folder)
        return True

    monkeypatch.setattr("asynchy.service.presence._is_empty", is_empty)
    copies = [copy_in(tmp_path / "gone")] * 50
    assert {one.presence for one in copies_with_presence(copies)} == {Presence.UNMOUNTED}
    assert looked == [tmp_path / "gone"]


def test_records_get_what_is_at_the_places_of_their_copies(project: Path) -> None:
    absent, never = copy_in(project), copy_in(project, completed=None)
    first, second = with_presence([record_of(copies=(absent, never)), record_of(epn="1b")])
    assert [one.presence for one in first.copies] == [Presence.MISSING, Presence.THERE]
    assert second == record_of(epn="1b")
