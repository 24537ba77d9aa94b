"""What was reported by mail, a mail that waits, and what is due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "reported",
        sa.Column("epn", sa.Text, nullable=False),
        sa.Column("first", time, nullable=False),
        sa.Column("latest", time, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("epn", name="pk_reported"),
    )
    op.create_table(
        "mails",
        sa.Column("id", sa.Integer),
        sa.Column("created", time, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
        sa.Column("epns", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mails"),
    )
    op.create_table(
        "due",
        sa.Column("epn", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("since", time, nullable=False),
        sa.Column("latest", time, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("epn", "project", name="pk_due"),
    )
