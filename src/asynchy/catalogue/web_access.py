"""The dashboard's tokens and the audit trail."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import ColumnElement, insert, select, update

from asynchy.catalogue.dashboard_tables import operator_actions, web_tokens
from asynchy.catalogue.database import Database
from asynchy.errors import TokenRefused
from asynchy.model.access import Action, OperatorAction, Role, WebToken


class WebAccess:
    """All methods raise `CatalogueError` if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: str, known: WebToken) -> None:
        """Store a token's digest.

        Raises:
            TokenRefused: there is one of that name already.
        """
        values = {
            "name": known.name, "role": known.role.value, "digest": _digest(token),
            "created": known.created, "expires": known.expires,
        }  # fmt: skip
        with self._database.transaction() as db:
            taken = select(web_tokens.c.id).where(web_tokens.c.name == known.name)
            if db.execute(taken).first() is not None:
                raise TokenRefused(
                    f"there is a token named {known.name} already",
                    hint="take another name: the name is in the audit trail, so it is used once",
                )
            db.execute(insert(web_tokens).values(values))

    def revoke(self, name: str, now: datetime) -> None:
        """Have a token, and all sessions that began with it, count no more.

        Raises:
            TokenRefused: there is none of that name.
        """
        mine = web_tokens.c.name == name
        with self._database.transaction() as db:
            if db.execute(select(web_tokens.c.id).where(mine)).first() is None:
                raise TokenRefused(
                    f"there is no token named {name}", hint="`asynchy web token list` shows all"
                )
            change = update(web_tokens).where(mine, web_tokens.c.revoked.is_(None))
            db.execute(change.values(revoked=now))

    def tokens(self) -> list[WebToken]:
        """All tokens that were ever made, by name."""
        with self._database.looking() as db:
            return [
                WebToken(row.name, Role(row.role), row.created, row.expires, row.revoked)
                for row in db.execute(select(web_tokens).order_by(web_tokens.c.name))
            ]

    def owner_of(self, token: str, now: datetime) -> WebToken | None:
        """The token with that text, if it counts now."""
        return self._valid(web_tokens.c.digest == _digest(token), now)

    def named(self, name: str, now: datetime) -> WebToken | None:
        """The token of a name, if it counts now."""
        return self._valid(web_tokens.c.name == name, now)

    def record(self, action: OperatorAction) -> None:
        """Add to the audit trail."""
        with self._database.transaction() as db:
            values = {**vars(action), "action": action.action.value}
            db.execute(insert(operator_actions).values(values))

    def actions(self, number: int, subject: str | None = None) -> list[OperatorAction]:
        """The latest entries of the audit trail, or those about one subject, the latest first."""
        query = select(operator_actions).order_by(operator_actions.c.id.desc()).limit(number)
        if subject is not None:
            query = query.where(operator_actions.c.subject == subject)
        with self._database.looking() as db:
            return [
                OperatorAction(
                    row.at, row.who, row.source, Action(row.action), row.subject, row.detail,
                    row.outcome,
                )
                for row in db.execute(query)
            ]  # fmt: skip

    def _valid(self, which: ColumnElement[bool], now: datetime) -> WebToken | None:
        query = select(web_tokens).where(
            which,
            web_tokens.c.revoked.is_(None),
            web_tokens.c.expires > now,
        )
        with self._database.looking() as db:
            row = db.execute(query).one_or_none()
        if row is None:
            return None
        return WebToken(row.name, Role(row.role), row.created, row.expires, None)


def _digest(token: str) -> str:
    """A token has 256 random bits: nobody finds it by trying, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
