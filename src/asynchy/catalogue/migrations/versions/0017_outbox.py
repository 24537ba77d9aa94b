"""One outbox for mails, messages and commands; what each channel was told; what was announced."""

from __future__ import annotations

import json
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

from asynchy.catalogue.column_types import UtcDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_MOVE = """
INSERT INTO outbox (channel, kind, subject, created, body, message_id, detail)
VALUES ('mail', 'report', '', :created, :message, :id, :detail)
"""
# What came home before is not told: a first command would be run for ten years of experiments.
_ANNOUNCED = """
UPDATE copies SET announced = (SELECT max(id) FROM attempts WHERE copy_id = copies.id)
"""


def upgrade() -> None:
    """Add the tables and the column; a mail that waits moves into the outbox."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("detail", sa.JSON),
        sa.Column("not_before", UtcDateTime),
        sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("failing_since", UtcDateTime),
        sa.Column("failed", UtcDateTime),
        sa.Column("error", sa.Text),
        sa.Column("exit_code", sa.Integer),
    )
    op.create_table(
        "told",
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("since", UtcDateTime, nullable=False),
    )
    op.add_column("copies", sa.Column("announced", sa.Integer))
    op.execute(_ANNOUNCED)
    db = op.get_bind()
    for row in db.execute(sa.text("SELECT created, message, epns FROM mails ORDER BY id")).all():
        detail = json.dumps({"epns": row.epns.split(), "notes": None})
        values = {"created": row.created, "message": row.message, "detail": detail}
        db.execute(sa.text(_MOVE), {**values, "id": uuid4().hex})
    op.drop_table("mails")
