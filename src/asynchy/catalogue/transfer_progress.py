"""How transfers get on: those that run, and how many bytes arrived in each minute."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, insert, select

from asynchy.catalogue.dashboard_tables import samples, transfers
from asynchy.catalogue.database import Database
from asynchy.catalogue.row_mapping import experiment_of, living_of
from asynchy.catalogue.statements import names_epn, upsert
from asynchy.localfs import process_identity
from asynchy.model.transfer_progress import RateSample, RunningTransfer

MINUTE = 60
_HOUR = 3600
_KEPT = timedelta(days=30)
"""For which there is a sample for each minute; after that, for each hour."""


class TransferProgress:
    """All methods raise `CatalogueError` if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, running: Iterable[RunningTransfer], moved: int, now: datetime) -> None:
        """Store the transfers of this process, in place of those it stored before.

        Those of processes that died are removed.

        `moved`: bytes that arrived since it was last called.
        """
        pid, identity = process_identity.own_process()
        host = process_identity.host()
        mine = (transfers.c.host == host, transfers.c.process == identity)
        rows = [_row(one) | {"host": host, "pid": pid, "process": identity} for one in running]
        with self._database.transaction() as db:
            db.execute(delete(transfers).where(*mine))
            left = db.execute(select(transfers)).all()
            over = {row.destination for row in left if living_of(row) is None}
            over |= {str(row["destination"]) for row in rows}
            if over:
                db.execute(delete(transfers).where(transfers.c.destination.in_(sorted(over))))
            if rows:
                db.execute(insert(transfers), rows)
            if moved:
                begin = int(now.timestamp()) // MINUTE * MINUTE
                new = upsert(samples).values(seconds=MINUTE, at=begin, bytes=moved)
                added = {"bytes": samples.c.bytes + new.excluded.bytes}
                db.execute(new.on_conflict_do_update(index_elements=["seconds", "at"], set_=added))

    def thin(self, now: datetime) -> None:
        """Add the samples of old minutes up to hours."""
        before = int((now - _KEPT).timestamp()) // _HOUR * _HOUR
        old = (samples.c.seconds == MINUTE, samples.c.at < before)
        hour = samples.c.at - samples.c.at % _HOUR
        with self._database.transaction() as db:
            query = select(hour.label("hour"), func.sum(samples.c.bytes))
            found = query.where(*old).group_by("hour")
            rows = [{"seconds": _HOUR, "at": at, "bytes": size} for at, size in db.execute(found)]
            if rows:
                db.execute(upsert(samples).on_conflict_do_nothing(), rows)
                db.execute(delete(samples).where(*old))

    def running(self) -> list[RunningTransfer]:
        """The transfers whose processes are alive, by EPN."""
        query = select(transfers).where(names_epn(transfers.c.epn))
        query = query.order_by(transfers.c.epn, transfers.c.destination)
        with self._database.looking() as db:
            rows = db.execute(query).all()
        return [
            RunningTransfer(
                experiment_of(row.beamline, row.epn), row.project, row.destination, row.since,
                row.heartbeat, row.bytes, row.done, row.files, row.files_done, row.rate, row.left,
                row.doing,
            )
            for row in rows
            if living_of(row) is not None
        ]  # fmt: skip

    def samples(self, since: datetime) -> list[RateSample]:
        """The samples that begin at a time or later, the earliest first."""
        query = select(samples).where(samples.c.at >= int(since.timestamp())).order_by(samples.c.at)
        with self._database.looking() as db:
            return [
                RateSample(datetime.fromtimestamp(row.at, UTC), row.seconds, row.bytes)
                for row in db.execute(query)
            ]


def _row(one: RunningTransfer) -> dict[str, object]:
    values = {name: value for name, value in vars(one).items() if name != "experiment"}
    return values | {"beamline": one.experiment.beamline, "epn": one.experiment.epn.text}
