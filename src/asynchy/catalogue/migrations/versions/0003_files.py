"""Files, the walks and imports that saw them, and the original's table of EPNs as a view."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_EPNS = """
CREATE VIEW epns AS
SELECT e.epn AS epn,
       sum(coalesce(e.bytes, c.bytes, 0)) AS size,
       strftime('%Y-%m-%d %H:%M:%f', max(e.modified), 'localtime') AS modified,
       max(e.completed_elsewhere OR c.completed IS NOT NULL) AS complete,
       sum(coalesce(c.moved, 0)) + max(coalesce(e.moved_elsewhere, 0)) AS bytesTransferred
FROM experiments AS e
LEFT JOIN (
    SELECT experiment_id,
           max(completed) AS completed,
           max(bytes) AS bytes,
           (SELECT sum(a.bytes) FROM attempts AS a
            JOIN copies AS k ON k.id = a.copy_id
            WHERE k.experiment_id = copies.experiment_id) AS moved
    FROM copies
    GROUP BY experiment_id
) AS c ON c.experiment_id = e.id
GROUP BY e.epn
"""


def upgrade() -> None:
    """Make the tables and the view."""
    time = sa.DateTime(timezone=True)
    for column in (
        sa.Column("files", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("modified", time),
        sa.Column("changed", time),
        sa.Column("walk_id", sa.Integer),
        sa.Column("completed_elsewhere", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("moved_elsewhere", sa.BigInteger),
    ):
        op.add_column("experiments", column)
    op.create_table(
        "sightings",
        sa.Column("id", sa.Integer),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("started", time, nullable=False),
        sa.Column("ended", time),
        sa.PrimaryKeyConstraint("id", name="pk_sightings"),
    )
    op.create_table(
        "files",
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("since", sa.Integer, nullable=False),
        sa.Column("seen", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "path", name="pk_files"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "frontier",
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("experiment_id", "path", name="pk_frontier"),
        sqlite_with_rowid=False,
    )
    op.execute(_EPNS)
