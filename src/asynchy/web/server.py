"""Runs the web server: on a loopback address, or on a unix socket for a reverse proxy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from asynchy.catalogue import Catalogue
from asynchy.config import load
from asynchy.errors import ListenRefused
from asynchy.runtime.periodic import notify
from asynchy.web.access import Sessions, key_path, session_key
from asynchy.web.application import application
from asynchy.web.gate import Gate
from asynchy.web.live import LiveFeed
from asynchy.web.reads import DashboardReader
from asynchy.web.rendering import templates
from asynchy.web.site import Site
from asynchy.web.snapshot import SnapshotKeeper

log = logging.getLogger(__name__)

_CONNECTIONS = 1000
_BACKLOG = 128
_GRACE = 3
"""Seconds that requests have to end after SIGTERM."""
_ALIVE = 5
"""Seconds for which an idle connection is kept."""


def serve(config: Path, said: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `said` gets the address once it listens.

    Raises:
        ConfigError: the config cannot be used.
        CatalogueError: the catalogue cannot be read.
        ListenRefused: nothing can listen there.
        WebKeyRefused: the key of sessions cannot be used.
    """
    settings = load(config).settings
    key = session_key(key_path(settings.catalogue_path))
    keeper = SnapshotKeeper(config)
    reader = DashboardReader(config, keeper)
    # One that cannot be read is said before anybody looks; one that is not there yet, on each page.
    Catalogue.open_readonly(settings.catalogue_address)
    site = Site(reader, Gate(settings.web, reader, Sessions(key)), templates())
    with _listening(settings.web.listen) as listener, keeper.running():
        said(_address(settings.web.listen, settings.web.url, listener))
        asyncio.run(_run(site, listener))


async def _run(site: Site, listener: socket.socket) -> None:
    app = application(site)
    feed = app.state.feed = LiveFeed(site)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_ALIVE,
            timeout_graceful_shutdown=_GRACE,
            h11_max_incomplete_event_size=65_536,
        )
    )

    def end() -> None:
        feed.ended.set()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    notify("READY=1")
    await server.serve(sockets=[listener])
    notify("STOPPING=1")


class _Server(uvicorn.Server):
    """Leaves signals to us: a clean stop ends with exit code 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _listening(listen: str) -> Iterator[socket.socket]:
    try:
        made = _unix(_socket_path(listen)) if listen.startswith("unix:") else _tcp(listen)
    except OSError as error:
        raise ListenRefused(
            f"the dashboard cannot listen at {listen}: {error.strerror or error}",
            hint="choose another address in `web: listen` of the config, or end the program that "
            "listens there",
        ) from None
    with made:
        yield made
    if listen.startswith("unix:"):
        with contextlib.suppress(OSError):
            _socket_path(listen).unlink()


def _socket_path(listen: str) -> Path:
    return Path(listen.removeprefix("unix:"))


def _tcp(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    family, kind, _, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM
    )[0]
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(socket.socket(family, kind))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        stack.pop_all()
    return made


def _unix(path: Path) -> socket.socket:
    """A socket that its owner and its group may use: the reverse proxy has to be in the group."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
            path.unlink()  # of a server that was killed
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        before = os.umask(0o117)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        made.listen(_BACKLOG)
        stack.pop_all()
    return made


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        try:
            tried.connect(str(path))
        except OSError:
            return False
        return True


def _address(listen: str, url: str | None, listener: socket.socket) -> str:
    if url is not None:
        return url
    if listen.startswith("unix:"):
        return listen
    host = listen.rpartition(":")[0]
    return f"http://{host}:{listener.getsockname()[1]}"
