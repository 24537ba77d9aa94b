"""What copies hold, how well that is proven, and the checks of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; of the copies that are there nothing is proven yet."""
    time = sa.DateTime(timezone=True)
    op.add_column("copies", sa.Column("level", sa.Integer))
    op.add_column("copies", sa.Column("verified", time))
    op.add_column("copies", sa.Column("damaged", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column(
        "copies", sa.Column("doubted", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_table(
        "held",
        sa.Column("copy_id", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("level", sa.Integer),
        sa.Column("checked", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary),
        sa.Column("damage", sa.Text),
        sa.PrimaryKeyConstraint("copy_id", "path", name="pk_held"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "checks",
        sa.Column("id", sa.Integer),
        sa.Column("copy_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("way", sa.Text, nullable=False),
        sa.Column("started", time, nullable=False),
        sa.Column("ended", time, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("files", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("different", sa.BigInteger, nullable=False),
        sa.Column("missing", sa.BigInteger, nullable=False),
        sa.Column("extra", sa.BigInteger, nullable=False),
        sa.Column("digested", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_checks"),
        sa.ForeignKeyConstraint(["copy_id"], ["copies.id"], name="fk_checks_copy_id"),
    )
    op.create_index("ix_checks_copy_id", "checks", ["copy_id"])
