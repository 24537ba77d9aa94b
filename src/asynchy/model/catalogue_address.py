"""Where a catalogue is: a file of SQLite, or a database of a PostgreSQL server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

SCHEMES = ("postgresql", "postgres")
_ACCEPTED = "a path, or postgresql://USER@HOST/DATABASE"


@dataclass(frozen=True)
class PostgresAddress:
    """A database of a PostgreSQL server. As text it is the URL, which has no password."""

    url: str
    """As libpq takes it: postgresql://USER@HOST:PORT/DATABASE?PARAMETER=VALUE."""
    beside: Path
    """What the files are named after that SQLite's catalogue has beside it: locks of this machine,
    the key of the dashboard's sessions."""
    password: str | None = field(default=None, repr=False, compare=False)
    """None: libpq looks for it in `.pgpass`, or the server wants none."""

    def __str__(self) -> str:
        return self.url

    @property
    def database(self) -> str:
        """The name of the database."""
        return urlsplit(self.url).path.removeprefix("/")

    @property
    def host(self) -> str:
        """The server's name, or the folder of its socket; empty: libpq's default."""
        parts = urlsplit(self.url)
        return parts.hostname or dict(parse_qsl(parts.query)).get("host", "")

    def with_password(self, password: str | None) -> PostgresAddress:
        """The same with a password."""
        return replace(self, password=password)


CatalogueAddress = Path | PostgresAddress
"""A path: the file of SQLite."""


def is_postgres(value: object) -> bool:
    """Whether a text is meant for the address of a PostgreSQL server."""
    return isinstance(value, str) and value.partition("://")[0].lower() in SCHEMES


def parse_postgres(url: str, beside: Path) -> PostgresAddress:
    """The address of a catalogue in PostgreSQL.

    Raises:
        ValueError: it is no such address, or has a password in it; the text says what is accepted.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(_ACCEPTED) from None
    if parts.password is not None or "password" in dict(parse_qsl(parts.query)):
        raise ValueError(
            "an address without a password; put that into `catalogue-password`, or into .pgpass"
        )
    name = parts.path.removeprefix("/")
    if parts.scheme not in SCHEMES or not name or "/" in name or parts.fragment:
        raise ValueError(_ACCEPTED)
    if any(character.isspace() or character == "\0" for character in url):
        raise ValueError(_ACCEPTED)
    return PostgresAddress(url, beside)


def beside(address: CatalogueAddress) -> Path:
    """What the files of this machine are named after that belong to a catalogue, such as locks."""
    return address.beside if isinstance(address, PostgresAddress) else address
