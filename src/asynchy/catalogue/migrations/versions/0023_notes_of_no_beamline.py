"""Notes of what is due have a beamline: before visits were stored, they had none.

An experiment that was never listed is known by its note alone, and one of no beamline was not read.
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give them that of the EPN's visit or experiment, else that of most of what is known.

    Those of experiments that were seen below no beamline's folder, and of visits that were called
    off, stay as they are. One that the EPN has with its beamline already is dropped.
    """
    op.execute("""
        CREATE TEMPORARY TABLE bare AS SELECT epn FROM due WHERE beamline = ''
        AND reason <> 'a visit of it was told, and called off since'
        AND epn NOT IN (SELECT epn FROM experiments WHERE beamline = '')
    """)
    op.execute("""
        UPDATE OR IGNORE due SET beamline = coalesce(
            (SELECT beamline FROM visits WHERE visits.epn = due.epn ORDER BY told DESC LIMIT 1),
            (SELECT beamline FROM experiments WHERE experiments.epn = due.epn LIMIT 1),
            (SELECT beamline FROM experiments WHERE beamline <> ''
             GROUP BY beamline ORDER BY count(*) DESC LIMIT 1),
            (SELECT beamline FROM visits GROUP BY beamline ORDER BY count(*) DESC LIMIT 1),
            '')
        WHERE beamline = '' AND epn IN (SELECT epn FROM bare)
    """)
    op.execute("""
        DELETE FROM due WHERE beamline = '' AND epn IN (SELECT epn FROM bare)
        AND epn IN (SELECT epn FROM due WHERE beamline <> '')
    """)
    op.execute("DROP TABLE bare")
