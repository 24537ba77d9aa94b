"""Whether a check came to its end, apart from what it found or could not read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of the checks that are there, those without a reason came to their end."""
    op.add_column(
        "checks", sa.Column("whole", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.execute("UPDATE checks SET whole = 1 WHERE reason IS NULL")
