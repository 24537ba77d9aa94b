"""Leases of copies: who works on one, and what happens to who lost it."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select, update

from asynchy.catalogue.copy_rows import record_death, remember_copy
from asynchy.catalogue.database import Database
from asynchy.catalogue.row_mapping import living_of
from asynchy.catalogue.schema import claims, copies
from asynchy.catalogue.statements import server_time
from asynchy.errors import LeaseLost
from asynchy.localfs import process_identity
from asynchy.model.attempt import Claim
from asynchy.model.experiment import Copy
from asynchy.model.lease import Lease, clock


class Leases:
    """The leases of this process. All methods raise `CatalogueError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[int, Lease] = {}

    def acquire(self, copy: Copy, now: datetime) -> Lease | Claim:
        """Take the lease of a copy, or name the process that has it.

        That of a process that died, or did not renew it in time, is taken over, and the attempt for
        which it stood recorded as interrupted. `now` counts where the database has no clock.

        Raises:
            DestinationTaken: another experiment has its copy there.
        """
        pid, identity = process_identity.own_process()
        asked, may_live = clock(), False
        with self._database.transaction() as db:
            by_server = server_time(db)
            now = by_server or now
            copy_id = remember_copy(db, copy, now)
            standing = db.execute(select(claims).where(claims.c.copy_id == copy_id)).one_or_none()
            if standing is not None:
                if (claim := living_of(standing, by_server)) is not None:
                    return claim
                may_live = process_identity.may_live(standing.host, standing.pid, standing.process)
                record_death(db, copy_id, now)
            mine = update(copies).where(copies.c.id == copy_id).values(lease=copies.c.lease + 1)
            number = int(db.execute(mine.returning(copies.c.lease)).scalar_one())
            db.execute(
                insert(claims).values(
                    copy_id=copy_id,
                    host=process_identity.host(),
                    pid=pid,
                    process=identity,
                    since=now,
                    heartbeat=now,
                    lease=number,
                )
            )
        lasts = None if by_server is None else process_identity.STALE.total_seconds()
        self._held[copy_id] = Lease(copy_id, number, lasts, asked, may_live)
        return self._held[copy_id]

    def of(self, copy_id: int) -> Lease | None:
        """The lease of a copy that this process has, or had and lost; None: it has none."""
        return self._held.get(copy_id)

    def beat(self, copy_id: int) -> None:
        """Renew the lease of a copy.

        Raises:
            LeaseLost: another process has taken it over.
        """
        lease = self._held[copy_id]
        asked = clock()
        with self._database.transaction() as db:
            now = server_time(db) or datetime.now(UTC)
            require_lease(db, lease)
            mine = update(claims).where(claims.c.copy_id == copy_id)
            db.execute(mine.values(heartbeat=now))
        lease.renew(asked)

    def release(self, copy_id: int) -> None:
        """Give up the lease of a copy, if it is still ours."""
        lease = self._held.pop(copy_id, None)
        if lease is not None and not lease.lost:
            with self._database.transaction() as db:
                mine = (claims.c.copy_id == copy_id, claims.c.lease == lease.number)
                db.execute(delete(claims).where(*mine))


def require_lease(db: Connection, lease: Lease | None) -> None:
    """See, in the transaction that writes, that a lease is ours; None: none is needed.

    Raises:
        LeaseLost: another process has taken it over.
    """
    if lease is None:
        return
    row = db.execute(select(claims).where(claims.c.copy_id == lease.copy_id)).one_or_none()
    if row is not None and row.lease == lease.number:
        return
    lease.give_up()
    who = f"process {row.pid} on {row.host} has it now" if row is not None else "another had it"
    raise LeaseLost(
        "this process was stopped, or cut off from the catalogue, for minutes, and lost its lease "
        f"of this copy: {who}",
        hint="nothing more is written to the copy; the next cycle goes on from where it is",
    )
