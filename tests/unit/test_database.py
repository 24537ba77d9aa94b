"""The catalogue's database as several processes and threads have it open."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from asynchy.catalogue.database import Database
from asynchy.catalogue.reading import address_for_reading

TAKEN = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
db.execute("PRAGMA locking_mode=EXCLUSIVE")
try:
    db.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError:
    print("kept out")
"""
"""A process that wants a database for itself alone, as one does that is the last to close it."""


def test_reading_a_database_leaves_the_locks_of_other_connections_of_the_process(
    tmp_path: Path,
) -> None:
    path = tmp_path / "catalogue.db"
    database = Database.open(path)
    with database.looking() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM experiments").scalar()
        with Database.open_readonly(path).looking() as other:
            other.exec_driver_sql("SELECT count(*) FROM experiments").scalar()
        Database.open(path)
        taken = subprocess.run(
            [sys.executable, "-c", TAKEN, path], capture_output=True, text=True, check=True
        )
    assert taken.stdout == "kept out\n"


def test_a_database_that_is_being_written_without_wal_is_opened_for_reading_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "original.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE files (path)")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO files VALUES ('one')")
    address, _ = address_for_reading(path)
    assert address == f"file:{path}?mode=ro"
    writer.execute("COMMIT")
    writer.close()
