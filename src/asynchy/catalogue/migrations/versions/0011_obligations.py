"""Which entries of `ignore.yml` are ours, and that there is an `ignore.yml` at all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables.

    Up to now an entry counted as ours if a copy of its EPN was complete. A catalogue that knows
    copies has been in use, so it is not one that replaces a lost one.
    """
    op.create_table(
        "ignored_by_us",
        sa.Column("epn", sa.Text, nullable=False),
        sa.Column("added", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("epn", name="pk_ignored_by_us"),
    )
    op.execute(
        "INSERT INTO ignored_by_us (epn, added) "
        "SELECT lower(experiments.epn), max(copies.completed) FROM copies "
        "JOIN experiments ON experiments.id = copies.experiment_id "
        "WHERE copies.completed IS NOT NULL GROUP BY lower(experiments.epn)"
    )
    op.create_table(
        "state",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_state"),
    )
    op.execute(
        "INSERT INTO state (name, value) SELECT 'in-use', 'since before schema 0011' "
        "WHERE EXISTS (SELECT 1 FROM copies)"
    )
