"""The Dask cluster as the coordinator of a transfer uses it.

What Dask does is left to it: where a task runs, which worker has died, that its tasks run again
elsewhere. Its own log lines are not shown; what a person needs is said in ours.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from asynchy.errors import ClusterError, PackageMissing
from asynchy.model.cluster import ClusterAddress, ClusterWorker
from asynchy.model.formatting import escaped

if TYPE_CHECKING:
    from distributed import Client, Future, Security

    from asynchy.engines.cluster.shard import Shard, ShardResult

CONNECTIONS = "asynchy-connections"
"""The resource of a worker: how many connections it may have to the facility."""
_PLACES = re.compile(r"asynchy-places-(.+)")
_CONNECT = 30.0
"""Seconds that the scheduler has to answer."""
_ANSWER = 10.0


def our_version() -> str:
    """Of asynchy and of distributed: both must be the same on all hosts."""
    return f"{version('asynchy')}/{version('distributed')}"


def places_resource() -> str:
    """The resource of which a worker has one for each shard that it works on at a time.

    Its name has the versions in it: a worker of another version gets no work of ours.
    """
    return f"asynchy-places-{our_version()}"


def require_package() -> None:
    """Look for distributed.

    Raises:
        PackageMissing: it is not installed.
    """
    if find_spec("distributed") is None:
        raise PackageMissing(
            "`executor: dask` and `asynchy worker` need the package distributed, which is not "
            "installed",
            hint="install the extra in the folder of the checkout: "
            f"`{sys.prefix}/bin/pip install --require-hashes -r requirements/cluster.txt`",
        )


def security_of(address: ClusterAddress) -> Security | None:
    """The certificates as Dask wants them; None: no TLS."""
    from distributed import Security  # noqa: PLC0415 - of the extra

    if address.ca is None:
        return None
    files = {"cert": str(address.cert), "key": str(address.key)}
    return Security(
        require_encryption=True,
        tls_ca_file=str(address.ca),
        **{f"tls_client_{name}": path for name, path in files.items()},
        **{f"tls_worker_{name}": path for name, path in files.items()},
        **{f"tls_scheduler_{name}": path for name, path in files.items()},
    )


class Cluster:
    """A connection to the scheduler; for several threads."""

    def __init__(self, address: ClusterAddress) -> None:
        """Connect.

        Raises:
            PackageMissing: distributed is not installed.
            ClusterError: the scheduler does not answer, or has another version.
        """
        require_package()
        self.address = address
        self._client = _client(address)
        self._lock = threading.Lock()
        try:
            self._check_version()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the scheduler is connected."""
        return bool(self._client.status == "running")

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError, TimeoutError):
            self._client.close(timeout=1)

    def workers(self) -> list[ClusterWorker]:
        """Those that are connected to the scheduler.

        Raises:
            ClusterError: the scheduler does not answer.
        """
        found = self._ask(self._client.scheduler.identity, n_workers=-1)
        return [
            made
            for address, told in found["workers"].items()
            if (made := _worker(address, told)) is not None
        ]

    def submit(self, shard: Shard, workers: Sequence[str] | None) -> Future[ShardResult]:
        """Have a shard done by one of some workers; None: by any of ours."""
        from asynchy.engines.cluster.work import run_shard  # noqa: PLC0415 - of the extra

        return self._client.submit(
            run_shard,
            shard,
            key=shard.name,
            pure=False,
            workers=workers,
            resources={places_resource(): 1, CONNECTIONS: shard.connections},
        )

    @contextlib.contextmanager
    def listening(self, topic: str, hear: Callable[[Any], None]) -> Iterator[None]:
        """Hear what workers report under a topic."""
        self._client.subscribe_topic(topic, lambda event: hear(event[1]))
        try:
            yield
        finally:
            self._client.unsubscribe_topic(topic)

    def set_event(self, name: str) -> None:
        """Set an event that workers wait for.

        Raises:
            ClusterError: the scheduler does not answer.
        """
        self._ask(self._client.scheduler.event_set, name=name)

    def clear_event(self, name: str) -> None:
        """Forget an event that nobody waits for any more.

        Raises:
            ClusterError: the scheduler does not answer.
        """
        self._ask(self._client.scheduler.event_clear, name=name)

    def run(
        self, function: Callable[..., Any], *args: Any, workers: Sequence[str] | None = None
    ) -> Mapping[str, Any]:
        """Run a function at once on workers, beside what they work on; the results by address.

        Those that fail have an exception as the result, or are not in it. None: on all of ours.

        Raises:
            ClusterError: the scheduler does not answer.
        """
        if workers is None:
            workers = [worker.address for worker in self.workers() if worker.places]
        try:
            found: Mapping[str, Any] = self._client.sync(
                self._client._run,
                function, *args, workers=workers, on_error="return", callback_timeout=_CONNECT,
            )  # fmt: skip
        except (OSError, TimeoutError) as error:
            raise self.gone() from error
        return found

    def gone(self) -> ClusterError:
        """That the scheduler does not answer."""
        return ClusterError(
            f"the Dask scheduler {self.address} does not answer",
            hint="look whether it runs (`systemctl status asynchy-scheduler`), and whether this "
            "machine reaches it; asynchy doctor tries it",
        )

    def _ask(self, question: Callable[..., Any], **what: Any) -> Any:
        try:
            return self._client.sync(question, callback_timeout=_ANSWER, **what)
        except (OSError, TimeoutError) as error:
            raise self.gone() from error

    def _check_version(self) -> None:
        found = self._ask(self._client.scheduler.versions)
        theirs, ours = found["packages"]["distributed"], version("distributed")
        if theirs != ours:
            raise ClusterError(
                f"the Dask scheduler {self.address} has distributed {escaped(str(theirs))}, this "
                f"machine has {ours}",
                hint="install the same version of asynchy with its extra `cluster` on all hosts",
            )


def _client(address: ClusterAddress) -> Client:
    from distributed import Client  # noqa: PLC0415 - of the extra

    for name in ("distributed", "tornado"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    try:
        return Client(
            address.scheduler,
            scheduler_file=address.scheduler_file and str(address.scheduler_file),
            security=security_of(address),
            timeout=_CONNECT,
            set_as_default=False,
            name="asynchy",
        )
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"the Dask scheduler {address} cannot be reached: {escaped(str(error), limit=300)}",
            hint="look whether it runs (`systemctl status asynchy-scheduler`), whether this "
            "machine reaches it, and at `executor` in the config; asynchy doctor tries it",
        ) from None


def _worker(address: str, told: Mapping[str, Any]) -> ClusterWorker | None:
    """A worker as the scheduler tells of it; None: it is none of asynchy's."""
    resources = told["resources"]
    match = next((m for m in map(_PLACES.fullmatch, resources) if m is not None), None)
    if match is None:
        return None
    same = match[1] == our_version()
    return ClusterWorker(
        address=address,
        host=str(told["name"]),
        places=int(resources[match[0]]) if same else 0,
        connections=int(resources.get(CONNECTIONS, 1)),
        version=match[1],
        running=told["status"] == "running",
    )


_clusters: dict[ClusterAddress, Cluster] = {}
_lock = threading.Lock()


def cluster_at(address: ClusterAddress) -> Cluster:
    """The connection that this process has to a scheduler, or a new one.

    Raises:
        PackageMissing: distributed is not installed.
        ClusterError: the scheduler does not answer, or has another version.
    """
    with _lock:
        found = _clusters.get(address)
        if found is None or not found.alive:
            if found is not None:
                found.close()
            found = _clusters[address] = Cluster(address)
        return found
