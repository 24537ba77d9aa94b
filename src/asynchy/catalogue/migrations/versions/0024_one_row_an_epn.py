"""An EPN that was stored in capitals and in small letters is one experiment with one row.

0011 left both rows: they are read as one, but what is written reached the copies of one alone.
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_OF_EXPERIMENTS = ("files", "folders", "others", "frontier")
_SAID = {
    "source": "''",
    "released": "NULL",
    "release_reason": "NULL",
    "completed_elsewhere": "0",
    "elsewhere_since": "NULL",
}
"""What the row that goes may say and the other one not, and how that is stored."""
_OF_COPIES = ("held", "held_others", "claims")


def upgrade() -> None:
    """Give the copies and events of the row in capitals to the other one, and drop it.

    If both have a copy in one place, one of the two was forgotten: its attempts and checks go to
    the other one.
    """
    op.execute("""
        CREATE TEMPORARY TABLE twins AS SELECT capital.id AS odd, small.id AS kept
        FROM experiments capital JOIN experiments small ON small.epn = lower(capital.epn)
        AND small.beamline = capital.beamline WHERE capital.epn <> lower(capital.epn)
    """)
    op.execute("""
        CREATE TEMPORARY TABLE doubles AS SELECT
        CASE WHEN one.forgotten IS NULL THEN other.id ELSE one.id END AS odd,
        CASE WHEN one.forgotten IS NULL THEN one.id ELSE other.id END AS kept
        FROM copies one JOIN twins ON twins.odd = one.experiment_id
        JOIN copies other ON other.experiment_id = twins.kept
        AND other.destination = one.destination
    """)
    for table in ("attempts", "checks"):
        _give("doubles", table, "copy_id")
    _drop("doubles", _OF_COPIES, "copy_id")
    _drop("doubles", ("copies",), "id")
    for table in ("copies", "events"):
        _give("twins", table, "experiment_id")
    for column, unknown in _SAID.items():
        op.execute(
            f"UPDATE experiments SET {column} = (SELECT capital.{column} FROM experiments capital "  # noqa: S608
            "JOIN twins ON twins.odd = capital.id AND twins.kept = experiments.id) "
            f"WHERE {column} IS {unknown} AND id IN (SELECT kept FROM twins)"
        )
    _drop("twins", _OF_EXPERIMENTS, "experiment_id")
    _drop("twins", ("experiments",), "id")
    op.execute("DROP TABLE doubles")
    op.execute("DROP TABLE twins")


def _give(pairs: str, table: str, column: str) -> None:
    """Have rows of the odd one of a pair be of the other one."""
    op.execute(
        f"UPDATE {table} SET {column} = (SELECT kept FROM {pairs} WHERE odd = {column}) "  # noqa: S608 - names of ours
        f"WHERE {column} IN (SELECT odd FROM {pairs})"
    )


def _drop(pairs: str, tables: tuple[str, ...], column: str) -> None:
    """Delete the rows of the odd one of each pair."""
    for table in tables:
        op.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT odd FROM {pairs})")  # noqa: S608
