"""How far the facility was in a walk or a listing, for the next run to begin with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; the next walk or listing fills it."""
    op.add_column("sightings", sa.Column("round_trip", sa.Float))
