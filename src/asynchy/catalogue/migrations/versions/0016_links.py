"""Links and special files that copies hold; times at home of files whose own it cannot hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns; the next verification or transfer fills the table."""
    op.create_table(
        "held_others",
        sa.Column("copy_id", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("target", sa.LargeBinary),
        sa.Column("lost", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("copy_id", "path", name="pk_held_others"),
        sqlite_with_rowid=False,
    )
    lost = sa.Column("lost_links", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    op.add_column("copies", lost)
    op.add_column("held", sa.Column("at_home", sa.BigInteger))
