"""Slow steps that can run while the rest of the code is loaded."""

from __future__ import annotations

from asynchy.config import Shared
from asynchy.engines.sftp import worker_pool
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession


def connect(settings: Shared) -> ServerSession:
    """Begin to connect to the facility; the first request gets the error, if there is one.

    Near by that takes as long as to load the catalogue's code, far away it is most of a start.
    """
    session = ServerSession(remote_of(settings))
    if settings.engine != "rsync":
        session.begin()
    return session


def load(settings: Shared) -> None:
    """Begin to load the code of a transfer's streams."""
    if settings.engine != "rsync":
        worker_pool.load()


def remote_of(settings: Shared) -> Server:
    """The SFTP service as the config names it."""
    return Server(
        host=settings.host,
        user=settings.user,
        port=settings.port,
        key_file=settings.key_file,
        known_hosts=settings.known_hosts,
        timeout=settings.timeout,
        connections=settings.max_connections,
        entries=settings.max_entries,
    )
