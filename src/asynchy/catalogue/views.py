"""The catalogue's view, for people's own queries."""

from __future__ import annotations

_EPNS = """
CREATE VIEW epns AS
SELECT e.epn AS epn,
       sum(coalesce(e.bytes, c.bytes, 0)) AS size,
       {modified} AS modified,
       max({complete}) AS complete,
       sum(coalesce(c.moved, 0)) + max(coalesce(e.moved_elsewhere, 0)) AS {moved}
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
EPNS = _EPNS.format(
    modified="strftime('%Y-%m-%d %H:%M:%f', max(e.modified), 'localtime')",
    complete="e.completed_elsewhere OR c.completed IS NOT NULL",
    moved="bytesTransferred",
)
"""A view like the table that people merged from the original's files, for their own queries."""
EPNS_IN_POSTGRES = _EPNS.format(
    modified="to_char(max(e.modified), 'YYYY-MM-DD HH24:MI:SS.MS')",
    complete="CASE WHEN e.completed_elsewhere OR c.completed IS NOT NULL THEN 1 ELSE 0 END",
    moved='"bytesTransferred"',
)
"""The same in PostgreSQL, where the time is in the time zone of whoever asks."""
