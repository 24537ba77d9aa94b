"""The tables of the dashboard: who may look, what operators did, and how transfers get on."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, Table

from asynchy.catalogue.column_types import Text, UtcDateTime
from asynchy.catalogue.schema import metadata

__all__ = ["metadata", "operator_actions", "samples", "transfers", "web_tokens"]

web_tokens = Table(
    "web_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),  # reader, operator
    Column("digest", Text, nullable=False),  # SHA-256 of the token, which has 256 random bits
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("revoked", UtcDateTime),  # null: it counts until it expires
)

operator_actions = Table(  # the audit trail; only ever added
    "operator_actions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("source", Text, nullable=False),  # the address that the request came from
    Column("action", Text, nullable=False),  # a value of `model.access.Action`
    Column("subject", Text, nullable=False),  # such as an EPN; empty: the service
    Column("detail", Text, nullable=False),  # such as the project
    Column("outcome", Text, nullable=False),  # what it said; an error begins with `refused: `
)

transfers = Table(  # those that run; a row whose process died counts no more
    "transfers",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("beamline", Text, nullable=False),
    Column("epn", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process", Text, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("heartbeat", UtcDateTime, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("files_done", BigInteger, nullable=False),
    Column("rate", Float, nullable=False),  # bytes a second over the last ten seconds
    Column("left", Float),  # seconds; null: not known
    Column("doing", Text, nullable=False),  # empty: it is fetched
)

samples = Table(  # bytes that arrived in a minute, or after 30 days in an hour
    "samples",
    metadata,
    Column("seconds", Integer, primary_key=True, autoincrement=False),  # 60 or 3600
    Column("at", BigInteger, primary_key=True, autoincrement=False),  # since 1970, its beginning
    Column("bytes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
