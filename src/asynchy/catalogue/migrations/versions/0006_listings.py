"""What a transfer works from: modes of files, folders; and why an engine was chosen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("files", sa.Column("mode", sa.Integer))
    op.add_column("attempts", sa.Column("chosen", sa.Text))
    op.create_table(
        "folders",
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("mode", sa.Integer, nullable=False),
        sa.Column("seen", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "path", name="pk_folders"),
        sqlite_with_rowid=False,
    )
