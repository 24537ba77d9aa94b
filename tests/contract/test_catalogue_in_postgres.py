"""A catalogue in PostgreSQL while its server, its connections and its users go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from asynchy.catalogue import Catalogue
from asynchy.catalogue.database import Database
from asynchy.catalogue.host_locks import host_lock
from asynchy.errors import CatalogueError, CatalogueUnreachable
from asynchy.model.catalogue_address import PostgresAddress, parse_postgres
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from tests.tools.postgres import PASSWORD, new_postgres_address, server

NOW = datetime.now(UTC)


@pytest.fixture
def address(tmp_path: Path) -> PostgresAddress:
    return new_postgres_address(tmp_path / "catalogue")


def released(address: PostgresAddress) -> set[str]:
    known = Catalogue.open_readonly(address).overview.records()
    return {one.experiment.epn.text for one in known if one.released is not None}


def release(catalogue: Catalogue, epn: str) -> None:
    catalogue.decisions.release(Experiment("mx", Epn(epn)), "why\0not", NOW)


def test_a_database_without_tables_reads_as_empty_and_is_made_when_written(tmp_path: Path) -> None:
    place = server().address(server().new_database(), tmp_path / "catalogue")
    assert not Catalogue.exists(place)
    assert Catalogue.open_readonly(place).overview.records() == []
    assert not Catalogue.exists(place)
    release(Catalogue.open(place), "1a")
    assert released(place) == {"1a"}
    assert not list(tmp_path.iterdir())


def test_what_is_opened_for_reading_cannot_write(address: PostgresAddress) -> None:
    with pytest.raises(CatalogueError, match="read-only"):
        release(Catalogue.open_readonly(address), "1a")


def test_a_newer_schema_and_another_programs_database_are_refused(
    address: PostgresAddress, tmp_path: Path
) -> None:
    server().execute("UPDATE alembic_version SET version_num = '9999'", address.database)
    for opened in (Catalogue.open, Catalogue.open_readonly):
        with pytest.raises(CatalogueError, match=r"another version of asynchy \(schema 9999"):
            opened(address)
    foreign = server().address(server().new_database(), tmp_path / "catalogue")
    server().execute("CREATE TABLE wp_posts (id int)", foreign.database)
    for opened in (Catalogue.open, Catalogue.open_readonly):
        with pytest.raises(CatalogueError, match="another program: it has wp_posts"):
            opened(foreign)


def test_the_password_is_needed_by_tcp_and_never_told(address: PostgresAddress) -> None:
    server().execute(f"ALTER ROLE asynchy PASSWORD '{PASSWORD}'")
    by_tcp = server().address(address.database, address.beside, tcp=True)
    with pytest.raises(CatalogueError) as missing:
        Catalogue.open(by_tcp)
    assert "no password supplied" in missing.value.message
    wrong = by_tcp.with_password("not-the-password")
    with pytest.raises(CatalogueError) as refused:
        Catalogue.open(wrong)
    assert "password authentication failed" in refused.value.message
    assert ".pgpass" in str(refused.value.hint)
    for said in (refused.value.message, str(refused.value.hint), repr(wrong), str(wrong)):
        assert "not-the-password" not in said
    release(Catalogue.open(by_tcp.with_password(PASSWORD)), "1a")
    assert released(address) == {"1a"}


def test_pgpass_gives_the_password(
    address: PostgresAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server().execute(f"ALTER ROLE asynchy PASSWORD '{PASSWORD}'")
    pgpass = tmp_path / "pgpass"
    pgpass.write_text(f"127.0.0.1:*:*:asynchy:{PASSWORD}\n")
    pgpass.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(pgpass))
    Catalogue.open(server().address(address.database, address.beside, tcp=True))


@pytest.mark.parametrize(
    ("url", "said", "hint"),
    [
        ("postgresql://asynchy@127.0.0.1:1/x", "refused", "whether the server runs"),
        ("postgresql://asynchy@no-such-host.invalid/x", "host", "host in `catalogue`"),
    ],
)
def test_a_server_that_is_away_is_told_at_once(
    url: str, said: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(CatalogueError) as error:
        Catalogue.open(parse_postgres(url, tmp_path / "catalogue"))
    assert said in error.value.message
    assert hint in str(error.value.hint)


def test_a_missing_database_or_role_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r'database "missing" does not exist') as error:
        Catalogue.open(server().address("missing", tmp_path / "catalogue"))
    assert "createdb" in str(error.value.hint)
    url = server().url("postgres", user="nobody-known")
    with pytest.raises(CatalogueError, match=r'role "nobody-known" does not exist') as error:
        Catalogue.open(parse_postgres(url, tmp_path / "catalogue"))
    assert "createuser" in str(error.value.hint)


def test_a_role_without_the_right_to_make_tables_is_told(tmp_path: Path) -> None:
    server().execute("DROP ROLE IF EXISTS reader")
    server().execute("CREATE ROLE reader LOGIN")
    database = server().new_database()
    server().execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database)
    with pytest.raises(CatalogueError, match="permission denied") as error:
        Catalogue.open(parse_postgres(server().url(database, user="reader"), tmp_path / "c"))
    assert "OWNER" in str(error.value.hint)


def test_a_server_that_is_restarted_is_waited_for(address: PostgresAddress) -> None:
    own = server()
    catalogue = Catalogue.open(address)
    release(catalogue, "1a")
    own.stop()
    waiting = threading.Thread(target=release, args=(catalogue, "2a"))
    waiting.start()
    own.start()  # in this thread: the server ends with the one that started it
    waiting.join()
    assert released(address) == {"1a", "2a"}


def test_a_connection_that_is_cut_in_a_transaction_loses_all_of_it(
    address: PostgresAddress,
) -> None:
    database = Database.open(address)
    with pytest.raises(CatalogueUnreachable), database.transaction() as db:
        db.exec_driver_sql("INSERT INTO state VALUES ('one', 'half')")
        pid = db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        server().execute(f"SELECT pg_terminate_backend({pid}, 5000)")
        db.exec_driver_sql("INSERT INTO state VALUES ('two', 'half')")
    with database.looking() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM state").scalar() == 0


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from asynchy.catalogue import Catalogue
from asynchy.model.catalogue_address import parse_postgres
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
catalogue = Catalogue.open(parse_postgres(sys.argv[1], Path("/nonexistent")))
for number in range(12):
    catalogue.decisions.release(Experiment("mx", Epn(f"{number}a")), "why", datetime.now(UTC))
    catalogue.decisions.take_back(Experiment("mx", Epn(f"{number}a")), "why", datetime.now(UTC))
"""


def test_several_processes_write_at_once_and_each_row_is_there_once(
    address: PostgresAddress,
) -> None:
    line = [sys.executable, "-c", WRITER, address.url]
    running = [subprocess.Popen(line) for _ in range(3)]
    assert [one.wait(240) for one in running] == [0, 0, 0]
    records = Catalogue.open_readonly(address).overview.records()
    assert sorted(one.experiment.epn.text for one in records) == sorted(
        f"{number}a" for number in range(12)
    )


HOLDER = """
import sys
from pathlib import Path
from asynchy.catalogue.database import Database
from asynchy.catalogue import postgres_database
from asynchy.model.catalogue_address import parse_postgres
postgres_database._SESSION = postgres_database._SESSION.replace("'60s'", "'1s'")
with Database.open(parse_postgres(sys.argv[1], Path("/nonexistent"))).transaction() as db:
    db.exec_driver_sql("INSERT INTO state VALUES ('mine', 'half')")
    print("holds", flush=True)
    sys.stdin.read()
    db.exec_driver_sql("INSERT INTO state VALUES ('mine too', 'half')")
"""


def test_a_process_that_was_stopped_in_a_transaction_keeps_nobody_from_writing(
    address: PostgresAddress,
) -> None:
    line = [sys.executable, "-c", HOLDER, address.url]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        os.kill(holder.pid, signal.SIGSTOP)
        release(Catalogue.open(address), "1a")
        os.kill(holder.pid, signal.SIGCONT)
        _, said = holder.communicate("")
    assert holder.returncode != 0
    assert "CatalogueUnreachable" in said
    with Database.open_readonly(address).looking() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM state").scalar() == 0


def test_what_runs_once_runs_once_on_all_machines(address: PostgresAddress) -> None:
    with (
        host_lock(address, "service") as first,
        host_lock(address, "service") as second,
        host_lock(address, "walk") as other,
    ):
        assert (first, second, other) == (True, False, True)
    with host_lock(address, "service") as again:
        assert again


def test_a_full_disk_of_the_server_is_told_and_nothing_is_half_stored(
    address: PostgresAddress,
) -> None:
    database = Database.open(address)
    raised = "DO $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$"
    with (
        pytest.raises(CatalogueError, match="No space left") as error,
        database.transaction() as db,
    ):
        db.exec_driver_sql("INSERT INTO state VALUES ('one', 'half')")
        db.exec_driver_sql(raised)
    assert "make room on the server" in str(error.value.hint)
    with database.looking() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM state").scalar() == 0


def test_the_view_that_people_ask_is_there(address: PostgresAddress) -> None:
    release(Catalogue.open(address), "1a")
    with psycopg.connect(address.url) as connection:
        row = connection.execute('SELECT epn, complete, "bytesTransferred" FROM epns').fetchone()
    assert row == ("1a", 0, 0)
