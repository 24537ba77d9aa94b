"""Which version a database is of: made new, brought up to date, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from asynchy.catalogue.dashboard_tables import metadata  # with all tables
from asynchy.catalogue.schema import REVISION
from asynchy.catalogue.views import EPNS, EPNS_IN_POSTGRES
from asynchy.errors import CatalogueError, OlderCatalogue
from asynchy.model.catalogue_address import CatalogueAddress, PostgresAddress
from asynchy.model.formatting import escaped

_made: dict[str, tuple[str, ...]] = {}
"""By the name of the dialect: to compile them takes longer than most commands' queries."""


def statements(dialect: Dialect) -> tuple[str, ...]:
    """The statements that make what a new catalogue has."""
    if dialect.name not in _made:
        _made[dialect.name] = _compiled(dialect)
    return _made[dialect.name]


def _compiled(dialect: Dialect) -> tuple[str, ...]:
    tables = metadata.sorted_tables
    made: list[CreateTable | CreateIndex] = [CreateTable(table) for table in tables]
    made += [CreateIndex(index) for table in tables for index in table.indexes]
    version = (
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
        " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    return (
        *(str(one.compile(dialect=dialect)) for one in made),
        EPNS if dialect.name == "sqlite" else EPNS_IN_POSTGRES,
        version,
        f"INSERT INTO alembic_version VALUES ('{REVISION}')",  # noqa: S608 - a constant
    )


def upgrade(
    address: CatalogueAddress,
    connection: Connection,
    names: frozenset[str],
    back_up: Callable[[str], None],
) -> None:
    """Make what a new catalogue has, or bring an older one up to date.

    `names`: of the tables and views that are there. `back_up`: called with the revision before an
    older one is changed.

    Raises:
        CatalogueError: it is of another program, or of a newer version.
    """
    found = revision(connection, names)
    if found == REVISION:
        return
    if not names:
        for statement in statements(connection.dialect):
            connection.exec_driver_sql(statement)
        return
    check_names(address, names)
    # Alembic takes longer to import than most commands run, and is needed once a version.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    steps = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in steps:
        raise _other_version(address, found)
    if found is not None:
        back_up(found)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def check_version(address: CatalogueAddress, connection: Connection, names: frozenset[str]) -> None:
    """See that a database can be read as a catalogue.

    Raises:
        CatalogueError: it is of another program, or of another version.
    """
    found = revision(connection, names)
    if found is None:
        check_names(address, names)
    if found != REVISION:
        raise _other_version(address, found)


def revision(connection: Connection, names: frozenset[str]) -> str | None:
    """The latest step of the migrations that was made in a database; None: none was."""
    if "alembic_version" not in names:
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def check_names(address: CatalogueAddress, names: frozenset[str]) -> None:
    """Refuse a database of another program: our tables do not go into it.

    Raises:
        CatalogueError: it is one.
    """
    if "alembic_version" in names:
        return
    name = next((name for name in sorted(names) if not name.startswith("sqlite_")), None)
    if name is not None:
        another = "database" if isinstance(address, PostgresAddress) else "file"
        raise CatalogueError(
            f"{address} is a database of another program: it has {escaped(name, limit=60)}",
            hint=f"let `catalogue` (or `db`) name another {another}; nothing was changed",
        )


def _other_version(address: CatalogueAddress, found: str | None) -> CatalogueError:
    if found is not None and found < REVISION:
        kept = (
            ""
            if isinstance(address, PostgresAddress)
            else "; a copy of it as it is stays beside it"
        )
        return OlderCatalogue(
            f"{address} is of an older version of asynchy (schema {found}, here {REVISION})",
            hint="the next command that writes brings it up to date, such as `mxsync --execute "
            f"--once` or `asynchy walk`{kept}",
        )
    return CatalogueError(
        f"{address} is of another version of asynchy (schema {found or 'none'}, here {REVISION})",
        hint="use the asynchy that wrote it, or a newer one; nothing was changed",
    )
