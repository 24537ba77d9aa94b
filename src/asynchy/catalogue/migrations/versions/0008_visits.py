"""The visits that the portal reported: when was measured, by whom."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; the next cycle fills it as far back as it asks the portal."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "visits",
        sa.Column("equipment", sa.Integer, nullable=False),
        sa.Column("visit", sa.Text, nullable=False),
        sa.Column("epn", sa.Text, nullable=False),
        sa.Column("beamline", sa.Text, nullable=False),
        sa.Column("start", time, nullable=False),
        sa.Column("end", time, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("principal", sa.JSON),
        sa.Column("scientists", sa.JSON, nullable=False),
        sa.Column("told", time, nullable=False),
        sa.PrimaryKeyConstraint("equipment", "visit", name="pk_visits"),
    )
    op.create_index("ix_visits_epn", "visits", ["epn"])
