"""Experiments, copies, claims, attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer),
        sa.Column("beamline", sa.Text, nullable=False),
        sa.Column("epn", sa.Text, nullable=False),
        sa.Column("proposal", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("first_seen", time, nullable=False),
        sa.Column("last_seen", time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.UniqueConstraint("beamline", "epn", name="uq_experiments_beamline"),
    )
    op.create_index("ix_experiments_epn", "experiments", ["epn"])
    op.create_table(
        "copies",
        sa.Column("id", sa.Integer),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("completed", time),
        sa.Column("completed_listing", time),
        sa.Column("files", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("fingerprint", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_copies"),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name="fk_copies_experiment_id"
        ),
        sa.UniqueConstraint("experiment_id", "destination", name="uq_copies_experiment_id"),
    )
    op.create_index("ix_copies_experiment_id", "copies", ["experiment_id"])
    op.create_table(
        "claims",
        sa.Column("copy_id", sa.Integer, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("since", time, nullable=False),
        sa.Column("heartbeat", time, nullable=False),
        sa.PrimaryKeyConstraint("copy_id", name="pk_claims"),
        sa.ForeignKeyConstraint(["copy_id"], ["copies.id"], name="fk_claims_copy_id"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer),
        sa.Column("copy_id", sa.Integer, nullable=False),
        sa.Column("started", time, nullable=False),
        sa.Column("ended", time, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("check", sa.Text, nullable=False),
        sa.Column("compare", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("files", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("listed_at", time),
        sa.Column("listed_files", sa.BigInteger),
        sa.Column("listed_bytes", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.Column("stderr", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["copy_id"], ["copies.id"], name="fk_attempts_copy_id"),
    )
    op.create_index("ix_attempts_copy_id_started", "attempts", ["copy_id", "started"])
