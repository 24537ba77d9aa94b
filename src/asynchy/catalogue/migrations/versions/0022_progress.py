"""How transfers get on, and how many bytes arrived in each minute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and an index for what was done lately."""
    op.create_table(
        "transfers",
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("beamline", sa.Text, nullable=False),
        sa.Column("epn", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime, nullable=False),
        sa.Column("heartbeat", sa.DateTime, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("files", sa.BigInteger, nullable=False),
        sa.Column("files_done", sa.BigInteger, nullable=False),
        sa.Column("rate", sa.Float, nullable=False),
        sa.Column("left", sa.Float),
        sa.Column("doing", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("destination", name="pk_transfers"),
    )
    op.create_table(
        "samples",
        sa.Column("seconds", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seconds", "at", name="pk_samples"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_attempts_ended", "attempts", ["ended"])
