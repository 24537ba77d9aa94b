"""The Dask cluster: its scheduler, its workers, and what all hosts must share."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from asynchy.config import Settings, Shared
from asynchy.engines.cluster.client import Cluster, cluster_at, our_version
from asynchy.engines.cluster.health import HostFacts, look
from asynchy.errors import AsynchyError
from asynchy.model.cluster import ClusterWorker
from asynchy.model.diagnostic_result import DiagnosticResult, failed, skipped
from asynchy.model.formatting import count, duration, escaped

_APART = 5.0
"""Seconds by which the clocks of two hosts may differ."""
_SEEN_AFTER = 60.0
"""Seconds after which a file of another host must be seen: NFS looks again after up to 60 (nfs(5),
acdirmax)."""
_TICK = 0.2


def cluster(settings: Shared) -> Iterator[DiagnosticResult]:
    """Whether the cluster works, where the config names one."""
    if settings.cluster is None:
        return
    try:
        found = cluster_at(settings.cluster)
        workers = found.workers()
    except AsynchyError as error:
        yield failed("scheduler", error)
        yield skipped("workers", "the scheduler does not answer")
        return
    yield DiagnosticResult("scheduler", True, f"{settings.cluster}, {our_version()}")
    if not workers:
        to_do = "start `asynchy worker` on each host (`systemctl start asynchy-worker@1`)"
        yield DiagnosticResult("workers", False, "none is connected to the scheduler", to_do)
        return
    yield from _workers(found, workers, settings)


def _workers(
    found: Cluster, workers: list[ClusterWorker], settings: Shared
) -> Iterator[DiagnosticResult]:
    folder, name = _shared_folder(settings), f".asynchy-doctor-{secrets.token_hex(4)}"
    own = {worker.address: f"{name}-{at}" for at, worker in enumerate(workers)}
    needed = [path for path in (settings.key_file, settings.known_hosts) if path is not None]
    try:
        if folder is not None:
            (folder / name).write_bytes(name.encode())
        for worker in workers:
            what = f"worker {escaped(worker.host)}"
            if not worker.places:
                to_do = f"install the same version as here, {our_version()}"
                yield DiagnosticResult(what, False, f"it has version {worker.version}", to_do)
                continue
            asked = time.time()
            facts = found.run(look, folder, name, own[worker.address], tuple(needed),
                              workers=[worker.address]).get(worker.address)  # fmt: skip
            if not isinstance(facts, HostFacts):
                to_do = "look at its log (`journalctl -u asynchy-worker@1`)"
                words = escaped(str(facts), limit=200)
                yield DiagnosticResult(what, False, f"it does not answer: {words}", to_do)
                continue
            yield from _host(what, worker, facts, settings)
            yield from _clock(what, facts, asked, time.time())
            if folder is not None and facts.fault is None:
                yield _shared(what, folder / own[worker.address], name.encode())
    except (AsynchyError, OSError) as error:
        yield DiagnosticResult("workers", False, escaped(str(error), limit=200))
    finally:
        if folder is not None:
            for left in (name, *own.values()):
                (folder / left).unlink(missing_ok=True)


def _shared_folder(settings: Shared) -> Path | None:
    """The folder of a project in which hosts can write; None: there is none."""
    if not isinstance(settings, Settings):
        return None
    projects = sorted(set(settings.epn_cap_map.values()))
    folders = (settings.destination_root_path / project for project in projects)
    able = (one for one in folders if os.access(one, os.W_OK | os.X_OK, effective_ids=True))
    return next(able, None)


def _host(
    what: str, worker: ClusterWorker, facts: HostFacts, settings: Shared
) -> Iterator[DiagnosticResult]:
    if not facts.has_ssh:
        yield DiagnosticResult(
            what, False, "ssh is not installed there", "install OpenSSH's client"
        )
    for path in facts.missing_files:
        to_do = "put it there, at the same path, for the worker's user"
        yield DiagnosticResult(what, False, f"{path} cannot be read there", to_do)
    if facts.fault is not None:
        to_do = "mount the projects there at the same path, for the same user number"
        yield DiagnosticResult(what, False, facts.fault, to_do)
    elif facts.has_ssh and not facts.missing_files:
        places = f"{count(worker.places, 'shard')} at a time"
        told = f"{places}, {count(worker.connections, 'connection')}, version {worker.version}"
        yield DiagnosticResult(what, True, told if worker.running else f"{told}; it takes no work")


def _clock(
    what: str, facts: HostFacts, asked: float, answered: float
) -> Iterator[DiagnosticResult]:
    ahead = max(facts.time - answered, 0.0) or min(facts.time - asked, 0.0)
    if abs(ahead) > _APART:
        words = f"its clock is {duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} ours"
        to_do = "have the clocks set on all hosts (chrony, ntpd)"
        yield DiagnosticResult(what, False, words, to_do)


def _shared(what: str, path: Path, expected: bytes) -> DiagnosticResult:
    """Whether this machine sees, in time, what a worker has written."""
    deadline = time.monotonic() + _SEEN_AFTER
    while True:
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            found = None
        if found == expected:
            return DiagnosticResult(f"{what}, files", True, f"{path.parent} is shared both ways")
        if time.monotonic() > deadline:
            break
        time.sleep(_TICK)
    return DiagnosticResult(
        f"{what}, files", False,
        f"{path.parent}: this machine does not see the file that it wrote",
        "mount the same file system on all hosts, at the same path",
    )  # fmt: skip
