"""Dot files, links and special files of experiments, counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns; nothing was counted yet."""
    op.create_table(
        "others",
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("seen", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "path", name="pk_others"),
        sqlite_with_rowid=False,
    )
    for name in ("dot_files", "symlinks", "special_files"):
        op.add_column("experiments", sa.Column(name, sa.BigInteger))
    for name in ("symlinks", "special_files"):
        counted = sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
        op.add_column("copies", counted)
