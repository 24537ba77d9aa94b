"""What runs as a service, what it does, and when it looks next."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of services."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "services",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("since", time, nullable=False),
        sa.Column("heartbeat", time, nullable=False),
        sa.Column("doing", sa.Text, nullable=False),
        sa.Column("next_look", time),
        sa.Column("trouble", sa.Text),
        sa.PrimaryKeyConstraint("name", name="pk_services"),
    )
