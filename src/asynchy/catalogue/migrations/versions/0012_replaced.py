"""Files that people changed at home, earlier versions that are kept, numbers of verifications."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from asynchy.catalogue.column_types import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_COUNTS = ("edited", "replaced_files", "replaced_bytes", "replaced_by_less")


def upgrade() -> None:
    """Add the columns; nothing is known of any of it yet."""
    for name in _COUNTS:
        op.add_column("copies", _count(name))
    op.add_column("copies", sa.Column("replaced", UtcDateTime))
    op.add_column("checks", _count("edited"))
    op.add_column("held", sa.Column("run", sa.Integer))


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
