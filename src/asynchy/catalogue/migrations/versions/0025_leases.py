"""Leases are numbered: the number is in each record of what was done under one."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Add the numbers; those of what was recorded before are not known."""
    op.add_column("copies", sa.Column("lease", sa.Integer, nullable=False, server_default="0"))
    op.add_column("claims", sa.Column("lease", sa.Integer, nullable=False, server_default="0"))
    for table in ("attempts", "checks"):
        op.add_column(table, sa.Column("lease", sa.Integer))
