"""A PostgreSQL server of the tests' own, on a socket and a free loopback port, and its catalogues."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from asynchy.catalogue import Catalogue
from asynchy.catalogue.database import Database
from asynchy.model.catalogue_address import PostgresAddress, parse_postgres
from simulator.scratch import memory

USER: tuple[int, int] | None = (65534, 65534) if os.getuid() == 0 else None
"""The server refuses root."""
PASSWORD = "half-a-sixpence"
_CONFIG = """
listen_addresses = '127.0.0.1'
max_connections = 60
shared_buffers = 32MB
fsync = off
synchronous_commit = off
full_page_writes = off
log_min_messages = warning
"""
_HBA = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


def programs() -> Path:
    """The folder of Debian's newest server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parent.name))
    assert found, "PostgreSQL is missing: scripts/set-up installs it"
    return found[-1]


class PostgresServer:
    """One server; it ends with this process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="asynchy-pg-", dir=memory()))
        self.data = self.folder / "data"
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.port = one.getsockname()[1]
        if USER is not None:
            os.chown(self.folder, *USER)
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._run(
            "initdb", "--no-sync", "--auth=trust", "--username=asynchy", "--encoding=UTF8",
            "--locale=C.UTF-8", "--pgdata", str(self.data),
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{_CONFIG}port = {self.port}\nunix_socket_directories = '{self.folder}'\n")
        (self.data / "pg_hba.conf").write_text(_HBA)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user(), str(programs() / "postgres"), "-D", str(self.data)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: at once (SIGINT) connections are cut, with SIGQUIT as in a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it, and remove what it has."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, *, user: str = "asynchy", tcp: bool = False) -> str:
        """Of a database, by the socket, where nobody needs a password, or by the loopback."""
        if tcp:
            return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def address(self, database: str, beside: Path, *, tcp: bool = False) -> PostgresAddress:
        """Of a catalogue."""
        return parse_postgres(self.url(database, tcp=tcp), beside)

    def new_database(self, template: str = "template0") -> str:
        """The name of a new database."""
        name = f"catalogue_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement, as the superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _run(self, program: str, *rest: str) -> None:
        line = [*self._as_user(), str(programs() / program), *rest]
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    def _as_user(self) -> list[str]:
        setpriv = shutil.which("setpriv") or "setpriv"
        if USER is None:
            return [setpriv, "--pdeathsig=QUIT", "--"]
        return [setpriv, f"--reuid={USER[0]}", f"--regid={USER[1]}", "--clear-groups",
                "--pdeathsig=QUIT", "--"]  # fmt: skip


@functools.cache
def server() -> PostgresServer:
    """The server of this process."""
    made = PostgresServer()
    atexit.register(made.close)
    return made


@functools.cache
def _template() -> str:
    """The name of a database with the tables of a new catalogue."""
    name = server().new_database()
    database = Database.open(server().address(name, Path("/nonexistent")))
    database.engine.dispose()
    return name


def new_postgres_address(beside: Path) -> PostgresAddress:
    """Of a new catalogue that knows nothing; its tables are there."""
    return server().address(server().new_database(_template()), beside)


def new_postgres_catalogue(beside: Path) -> Catalogue:
    """A new catalogue that knows nothing."""
    return Catalogue.open(new_postgres_address(beside))
