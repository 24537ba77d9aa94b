"""How many files of a copy are missing at home, beside how many are damaged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COUNT = """
UPDATE copies SET missing = (
    SELECT count(*) FROM held WHERE held.copy_id = copies.id AND held.damage = 'missing')
WHERE damaged > 0
"""


def upgrade() -> None:
    """Add the column, and count what is known."""
    missing = sa.Column("missing", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    op.add_column("copies", missing)
    op.execute(_COUNT)
