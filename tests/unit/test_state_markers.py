"""What the catalogue remembers of `ignore.yml`, and what an older catalogue becomes."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

import asynchy.catalogue
from asynchy.catalogue.database import Database
from asynchy.catalogue.state_markers import Markers, StateMarkers, ignored_by_us, note_ignored
from asynchy.domain.epn import Epn

NOW = datetime.now(UTC)


def test_a_new_catalogue_remembers_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    assert StateMarkers.peek(path).read() == Markers()
    assert not path.exists()
    assert StateMarkers.open(path).read() == Markers()


def test_what_was_noted_of_ignore_yml_is_read_again(tmp_path: Path) -> None:
    path, ignore = tmp_path / "catalogue.db", tmp_path / "ignore.yml"
    notes = StateMarkers.open(path)
    notes.begin()
    notes.note_ignore_file(ignore, 3, commented=True)
    notes.note_ignore_file(ignore, 4, commented=False)
    assert StateMarkers.peek(path).read() == Markers(True, str(ignore), 4, str(ignore))
    notes.begin(forget_ignore_file=True)
    assert notes.read() == Markers(in_use=True)


def test_entries_noted_as_ours_are_known_and_noted_twice_are_one(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "catalogue.db")
    with database.transaction() as db:
        note_ignored(db, [Epn("1a"), Epn("2b")], NOW)
        note_ignored(db, [Epn("2b")], NOW + timedelta(days=1))
        note_ignored(db, [], NOW)
        assert ignored_by_us(db) == {"1a", "2b"}


def of_schema_10(path: Path, *statements: str) -> None:
    """Make a catalogue of the version before this one."""
    folder = Path(asynchy.catalogue.__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as db:
        config.attributes["connection"] = db
        command.upgrade(config, "0010")
    engine.dispose()
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


EXPERIMENT = (
    "INSERT INTO experiments (id, beamline, epn, proposal, source, first_seen, last_seen) "
    "VALUES ({0}, 'mx', '{1}', '1', '', '2026-01-01', '2026-01-01')"
)
COPY = (
    "INSERT INTO copies (experiment_id, project, destination, completed) "
    "VALUES ({0}, 'ny79', '/{1}', {2})"
)


def test_an_upgrade_notes_the_epns_of_complete_copies_as_ours(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    of_schema_10(
        path,
        EXPERIMENT.format(1, "12282a"),
        EXPERIMENT.format(2, "12282b"),
        EXPERIMENT.format(3, "12282c"),
        COPY.format(1, "one", "'2026-02-01 00:00:00.000000'"),
        COPY.format(1, "two", "'2026-03-01 00:00:00.000000'"),
        COPY.format(2, "three", "NULL"),
    )
    database = Database.open(path)
    with database.transaction() as db:
        assert ignored_by_us(db) == {"12282a"}
    assert StateMarkers(database).read() == Markers(in_use=True)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT added FROM ignored_by_us").fetchone()[0].startswith("2026-03-01")
    db.close()


def test_an_upgraded_catalogue_without_copies_is_not_in_use_yet(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    of_schema_10(path, EXPERIMENT.format(1, "12282a"))
    assert StateMarkers.open(path).read() == Markers()
