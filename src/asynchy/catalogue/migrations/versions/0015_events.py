"""What became of experiments, and the visits that were called off on a beamline."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from asynchy.catalogue.column_types import UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_RELEASED = """
INSERT INTO events (experiment_id, at, what, detail)
SELECT id, released, 'released', coalesce(release_reason, '') FROM experiments
WHERE released IS NOT NULL ORDER BY released
"""


def upgrade() -> None:
    """Add the tables; the releases that stand are the events that are known."""
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("ix_events_experiment_id", "events", ["experiment_id"])
    op.create_table(
        "called_off",
        sa.Column("visit", sa.Text, primary_key=True),
        sa.Column("epn", sa.Text, primary_key=True),
        sa.Column("beamline", sa.Text, primary_key=True),
        sa.Column("at", UtcDateTime, nullable=False),
    )
    op.execute(_RELEASED)
