"""What a cycle compares: portal spans, entries of ignore.yml, releases, one copy a destination."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from asynchy.catalogue.column_types import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SHARED = """
SELECT id FROM copies WHERE EXISTS (
    SELECT 1 FROM copies other WHERE other.destination = copies.destination
    AND other.id <> copies.id
    AND (coalesce(other.completed, ''), other.id) > (coalesce(copies.completed, ''), copies.id))
"""
_FORGET = f"""
UPDATE copies SET forgotten = CURRENT_TIMESTAMP, completed = NULL, completed_listing = NULL,
fingerprint = NULL, level = NULL, verified = NULL, damaged = 0, doubted = 0,
forget_reason = 'another experiment has the same destination (found by an upgrade)'
WHERE id IN ({_SHARED})
"""  # noqa: S608 - no value in it
_NOT_HELD = "DELETE FROM held WHERE copy_id IN (SELECT id FROM copies WHERE forgotten IS NOT NULL)"
_IN_USE = "INSERT INTO state SELECT 'in-use', 'yes' WHERE EXISTS (SELECT 1 FROM copies)"
_OURS = """
INSERT INTO ignore_entries (epn, origin, since)
SELECT lower(experiments.epn), 'ours', max(copies.completed) FROM copies
JOIN experiments ON experiments.id = copies.experiment_id
WHERE copies.completed IS NOT NULL GROUP BY lower(experiments.epn)
"""
_DUE = """
INSERT OR IGNORE INTO due (beamline, epn, project, since, latest, reason)
SELECT coalesce(
    experiments.beamline,
    (SELECT beamline FROM visits WHERE visits.epn = lower(old.epn) ORDER BY "end" DESC LIMIT 1),
    ''
), lower(old.epn), old.project, old.since, old.latest, old.reason
FROM due_by_epn old LEFT JOIN experiments ON experiments.epn = lower(old.epn)
ORDER BY old.since
"""
_LOWER = ("experiments", "visits", "reported")
"""Tables with EPNs, which are compared without case from now on; one that is there twice stays."""


def upgrade() -> None:
    """Add what is new; entries for EPNs that were completed here count as ours, as they did."""
    for table in _LOWER:
        op.execute(f"UPDATE OR IGNORE {table} SET epn = lower(epn) WHERE epn <> lower(epn)")  # noqa: S608
    op.execute("UPDATE mails SET epns = lower(epns)")
    op.create_table(
        "state",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "ignore_entries",
        sa.Column("epn", sa.Text, primary_key=True),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
    )
    op.create_table(
        "portal_spans",
        sa.Column("equipment", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("until", UtcDateTime, nullable=False),
    )
    op.add_column("experiments", sa.Column("link_target", sa.Text))
    op.add_column("experiments", sa.Column("problem", sa.Text))
    op.add_column("experiments", sa.Column("released", UtcDateTime))
    op.add_column("experiments", sa.Column("release_reason", sa.Text))
    op.add_column("experiments", sa.Column("elsewhere_since", UtcDateTime))
    op.execute("UPDATE experiments SET elsewhere_since = last_seen WHERE completed_elsewhere")
    op.add_column("copies", sa.Column("project_folder", sa.Text))
    op.add_column("copies", sa.Column("forgotten", UtcDateTime))
    op.add_column("copies", sa.Column("forget_reason", sa.Text))
    op.add_column("copies", sa.Column("losses", sa.Text))
    op.execute(_FORGET)
    op.execute(_NOT_HELD)
    op.create_index(
        "uq_copies_destination",
        "copies",
        ["destination"],
        unique=True,
        sqlite_where=sa.text("forgotten IS NULL"),
    )
    op.execute(_IN_USE)
    op.execute(_OURS)
    op.rename_table("due", "due_by_epn")
    op.create_table(
        "due",
        sa.Column("beamline", sa.Text, primary_key=True),
        sa.Column("epn", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("latest", UtcDateTime, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.execute(_DUE)
    op.drop_table("due_by_epn")
