"""What copies hold and the facility no longer lists, or lists smaller."""

from __future__ import annotations

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.catalogue.statements import run_sql
from asynchy.model.experiment import DataSize
from asynchy.model.shrinking import NO_LOSSES, Losses

# A listing that came to its end has deleted what it did not see (`ScanWriter.finish`): what `files`
# does not have was not there. One that is still going on only adds, so it takes nothing away here.
_LOST = """
FROM held LEFT JOIN files ON files.experiment_id = :experiment AND files.path = held.path
WHERE held.copy_id = :copy AND (files.path IS NULL OR files.size < held.size)
"""
_SUM = f"""
SELECT count(*) FILTER (WHERE files.path IS NULL),
    coalesce(sum(held.size) FILTER (WHERE files.path IS NULL), 0),
    count(files.path),
    coalesce(sum(held.size - files.size), 0),
    count(held.damage)
{_LOST}
"""
_EXAMPLES = f"SELECT held.path {_LOST} ORDER BY held.path LIMIT :named"


def losses(holdings: CopyFiles, *, named: int = 3) -> Losses:
    """What the latest whole listing no longer has, or has smaller, of the files of a copy.

    `named`: how many of them are named as examples. Ask before the copy takes what was listed
    (`CopyFiles.take`): from then on a file that is smaller there counts as held with that size.
    One that is gone there stays lost, as long as the copy holds it.

    Raises:
        CatalogueError: the database cannot be used.
    """
    values = {"copy": holdings.copy_id, "experiment": holdings.experiment_id, "named": named}
    with holdings.database.transaction() as db:
        gone, in_bytes, smaller, by, damaged = run_sql(db, _SUM, values).one()
        if not gone + smaller:
            return NO_LOSSES
        examples = [bytes(path) for (path,) in run_sql(db, _EXAMPLES, values)]
    return Losses(DataSize(in_bytes, gone), DataSize(by, smaller), damaged, tuple(examples))
