"""Folders at the facility that could not be listed: what was known to be in them stays known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import ColumnElement, Connection, Table, delete


def forget_unseen(
    db: Connection, table: Table, experiment_id: int, sighting: int, unlisted: Iterable[bytes] = ()
) -> int:
    """Delete what an experiment had and a sighting has not seen, but in some folders; how many."""
    unseen = delete(table).where(table.c.experiment_id == experiment_id, table.c.seen < sighting)
    spans = _spans_outside(table.c.path, unlisted)
    return sum(db.execute(unseen.where(*span)).rowcount for span in spans)


def _spans_outside(
    path: ColumnElement[bytes], folders: Iterable[bytes]
) -> Iterator[list[ColumnElement[bool]]]:
    """The spans of paths between those that are in some folders, as conditions."""
    after: list[ColumnElement[bool]] = []
    last = b""
    for folder in sorted(folders, key=lambda name: name + b"/"):
        if folder + b"/" < last:  # in the folder before
            continue
        last = folder + b"0"  # which comes next to "/"
        yield [*after, path < folder + b"/"]
        after = [path >= last]
    yield after
