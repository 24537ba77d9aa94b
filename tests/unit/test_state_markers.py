"""What the catalogue remembers of `ignore.yml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynchy.catalogue.state_markers import Markers, StateMarkers

pytestmark = pytest.mark.both_databases


def test_a_new_catalogue_remembers_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    assert StateMarkers.open_readonly(path).read() == Markers()
    assert not path.exists()
    assert StateMarkers.open(path).read() == Markers()


def test_what_was_noted_of_ignore_yml_is_read_again(tmp_path: Path) -> None:
    path, ignore = tmp_path / "catalogue.db", tmp_path / "ignore.yml"
    notes = StateMarkers.open(path)
    notes.begin()
    notes.note_ignore_file(ignore, 3, commented=True)
    notes.note_ignore_file(ignore, 4, commented=False)
    assert StateMarkers.open_readonly(path).read() == Markers(True, str(ignore), 4, str(ignore))
    notes.begin(forget_ignore_file=True)
    assert notes.read() == Markers(in_use=True)
