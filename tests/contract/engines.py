"""Engines as tests use them: in this process, with a listing that is kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from asynchy.engines.base import Job, OnProgress
from asynchy.engines.cluster.engine import ClusterEngine
from asynchy.engines.rsync_engine import RsyncEngine
from asynchy.engines.sftp.engine import SftpEngine
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.facility.lister import list_experiment
from asynchy.localfs.listing_comparison import ListingComparer
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.attempt import EngineResult
from asynchy.model.bandwidth import constant
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy, Entry, EntryKind
from asynchy.model.verification import Recorded
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession
from simulator.facility import Facility

Engine = RsyncEngine | SftpEngine | ClusterEngine
MakeEngine = Callable[[Server], Engine]


SLOWLY = constant(60_000_000)


def ignored(_bytes: int, _files: int) -> None:
    """Progress that nobody looks at."""


@dataclass
class Listed:
    """What a listing found, in memory."""

    entries: list[Entry]
    records: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def files(self, larger_than: int) -> Iterator[Entry]:
        found = [entry for entry in self.entries if entry.kind is EntryKind.FILE]
        large = [entry for entry in found if entry.size > larger_than]
        yield from sorted(large, key=lambda entry: -entry.size)
        yield from sorted((e for e in found if e.size <= larger_than), key=lambda e: e.path)

    def recorded(self, path: bytes) -> Recorded | None:
        facts = self.records.get(path)
        return None if facts is None else Recorded(*facts)

    def folders(self) -> Iterator[Entry]:
        found = [entry for entry in self.entries if entry.kind is EntryKind.FOLDER]
        yield from sorted(found, key=lambda entry: entry.path)


def listed(remote: Server, copy: Copy, records: dict[bytes, tuple[int, int]] | None = None) -> Job:
    """A job as a run makes it; `records`: what is known of the files as they arrived."""
    entries: list[Entry] = []
    home = SafeTree.of(copy) if copy.destination.exists() else None
    surveyor = ListingComparer(home, datetime.now(UTC))

    def hear(entry: Entry) -> None:
        surveyor.add(entry)
        entries.append(entry)

    list_experiment(ServerSession(remote), copy.source, hear, Stop())
    if home is not None:
        home.close()
    replaced = copy.destination.with_name("data.asynchy-replaced") / "20261124T140500Z"
    return Job(copy, surveyor.result(), Listed(entries, records or {}), replaced)


def transfer(engine: Engine, copy: Copy, stop: Stop, on_progress: OnProgress) -> EngineResult:
    """As a run does it: list, then transfer."""
    return engine.transfer(listed(engine.remote, copy), stop, on_progress)


def by_sftp(remote: Server) -> SftpEngine:
    return SftpEngine(WorkerPool(ServerSession(remote), None))


def remote_of(facility: Facility, **changes: int) -> Server:
    return Server(
        host=facility.host,
        user=facility.user,
        port=changes.get("port", facility.port),
        key_file=facility.key_file,
        known_hosts=facility.known_hosts,
        timeout=changes.get("timeout", 30),
    )


def in_several_streams(engine: Engine) -> Engine:
    if isinstance(engine, RsyncEngine):
        return replace(engine, transfer_options=replace(engine.transfer_options, streams=3))
    return replace(engine, streams=3)


def slowly(engine: Engine) -> Engine:
    """So that a stop is heard before all has come, however late a busy machine lets us ask."""
    if isinstance(engine, RsyncEngine):
        return replace(engine, transfer_options=replace(engine.transfer_options, bandwidth=SLOWLY))
    if isinstance(engine, ClusterEngine):
        return replace(engine, bandwidth=SLOWLY)
    return replace(engine, worker_pool=WorkerPool(engine.worker_pool.session, SLOWLY))
