"""Types of the catalogue's columns: times and levels, as Python has them and as databases do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any

import sqlalchemy
from sqlalchemy import DateTime, Integer, TypeDecorator

from asynchy.errors import CatalogueError
from asynchy.model.formatting import escaped
from asynchy.model.verification import Level

Text = sqlalchemy.Text().with_variant(sqlalchemy.Text(collation="C"), "postgresql")
"""A text, in the order of its bytes in both databases."""


class _JsonText(TypeDecorator[Any]):
    """JSON as SQLite has it: a text, in which no value of ours is changed or refused."""

    impl = sqlalchemy.Text
    cache_ok = True

    def __init__(self, *, none_as_null: bool) -> None:
        super().__init__()
        self.none_as_null = none_as_null

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """To a text."""
        return None if value is None and self.none_as_null else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        """From a text."""
        return None if value is None else json.loads(value)


def json_type(*, none_as_null: bool = False) -> sqlalchemy.JSON:
    """A column of JSON, which both databases store as a text."""
    stored = sqlalchemy.JSON(none_as_null=none_as_null)
    return stored.with_variant(_JsonText(none_as_null=none_as_null), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: zone-aware in Python, UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """To UTC; a naive time is a defect of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time cannot be stored")
        return value.astimezone(UTC)

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[Any], datetime | None]:
        """From UTC. One call a value: an overview reads hundreds of thousands of them."""
        return _from_utc_text if dialect.name == "sqlite" else _in_utc


def _in_utc(value: datetime | None) -> datetime | None:
    """As psycopg hands it over: aware, and in UTC as our sessions are."""
    return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


def _from_utc_text(value: str | None) -> datetime | None:
    try:
        return None if value is None else datetime.fromisoformat(f"{value}+00:00")
    except ValueError:
        raise CatalogueError(
            f"the catalogue has a value in the place of a time: {escaped(repr(value), limit=60)}",
            hint="nobody but asynchy may write to it; `asynchy catalogue restore` puts a backup in "
            "its place",
        ) from None


_DAY = 86_400
_FIRST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) + _DAY
_LAST = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) - _DAY


def as_time(seconds: int, zone: tzinfo = UTC) -> datetime:
    """Seconds since 1970 in UTC as a time; what no calendar of ours reaches becomes its end.

    A file at the facility may have any time: rsync tells of the year -1 and of the year 10^9.
    """
    return datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), zone)


class LevelNumber(TypeDecorator[Level]):
    """A level: a `Level` in Python, its number in the database, so that the least can be asked."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Level | None, dialect: Any) -> int | None:
        """To its number."""
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Any) -> Level | None:
        """From its number; another program's value proves nothing, and `odd_rows` names it."""
        try:
            return None if value is None else Level(value)
        except ValueError:
            return None
