"""Where transfers are worked on: `executor`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from asynchy.config.field_types import FilePath
from asynchy.config.section import Section
from asynchy.model.cluster import ClusterAddress

_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", re.ASCII)
_ACCEPTED = "local, or a cluster such as {dask: tcp://head:8786} or {dask: {scheduler-file: PATH}}"
_TLS = "all three of ca, cert and key for an address with tls://, none of them for tcp://"


def scheduler_address(value: object) -> str:
    """The address of a Dask scheduler.

    Raises:
        ValueError: it is none.
    """
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < int(found[3]) <= 65535:
        raise ValueError("an address such as tcp://head:8786 or tls://head:8786")
    return found[0]


def _cluster(value: object) -> Any:
    return {"scheduler": value} if isinstance(value, str) else value


class DaskCluster(Section):
    """New: a Dask cluster, by its scheduler."""

    scheduler: Annotated[str, BeforeValidator(scheduler_address)] | None = None
    """Its address."""
    scheduler_file: FilePath | None = None
    """A file in which the scheduler wrote its address."""
    ca: FilePath | None = None
    """TLS: a PEM file of who signed the certificates of the cluster."""
    cert: FilePath | None = None
    """TLS: the certificate of this machine, PEM."""
    key: FilePath | None = None
    """TLS: its key, PEM."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.scheduler is None) == (self.scheduler_file is None):
            raise ValueError("either an address (scheduler) or scheduler-file")
        files = (self.ca, self.cert, self.key)
        given = sum(file is not None for file in files)
        by_address = None if self.scheduler is None else self.scheduler.startswith("tls:")
        if given not in {0, len(files)} or by_address not in {None, bool(given)}:
            raise ValueError(_TLS)
        return self

    @property
    def address(self) -> ClusterAddress:
        """As the engine takes it."""
        return ClusterAddress(self.scheduler, self.scheduler_file, self.ca, self.cert, self.key)


class ExecutorEntry(Section):
    """New: where transfers are worked on; without a cluster, on this machine."""

    dask: Annotated[DaskCluster, BeforeValidator(_cluster)] | None = None


def _executor(value: object) -> Any:
    if value == "local":
        return {}
    if isinstance(value, dict) and set(value) == {"dask"}:
        return value
    raise ValueError(_ACCEPTED)


ExecutorChoice = Annotated[ExecutorEntry, BeforeValidator(_executor)]
