"""A server as one run knows it: its facts, and connections kept for the next questions."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from asynchy.errors import AsynchyError, ListingError, ServerBusy
from asynchy.model.cancellation import Stop
from asynchy.model.verification import ComparisonMethod
from asynchy.ssh.error_causes import REFUSED_BACKOFF, REFUSED_TRIES
from asynchy.ssh.idle_pool import IdlePool
from asynchy.ssh.server import Server
from asynchy.ssh.sftp.connection import Connection

log = logging.getLogger(__name__)

_REFUSAL_TIMEOUT = 5.0  # seconds
"""Seconds within which a server refuses a connection because it has too many that are not logged in
yet (MaxStartups); the streams of a transfer may be among them."""
_ROUND_TRIP_GROWTH = 1.03
"""How much further away the server may seem to be with each connection."""


@dataclass(frozen=True)
class ServerFacts:
    """The facts that a run has learned about a server. A process that it starts gets them all."""

    offers_sftp: bool = True
    """False, once a listing found that it does not."""
    round_trip: float | None = None
    """Seconds that a question and its answer take."""
    comparison_method: ComparisonMethod | None = None
    """How the content of its files is compared, once a way was found."""


class ServerSession:
    """One server during one run; for several threads."""

    def __init__(self, server: Server, facts: ServerFacts | None = None) -> None:
        self.server = server
        self.facts = facts or ServerFacts()
        self._idle: IdlePool[Connection] = IdlePool(server)
        self._learning = threading.Lock()

    def note_no_sftp(self) -> None:
        """Note that the server offers no SFTP: from now on, rsync lists."""
        self._learn(offers_sftp=False)

    def note_comparison_method(self, method: ComparisonMethod) -> None:
        """Content was compared by this method, and will be again."""
        self._learn(comparison_method=method)

    def note_round_trip(self, seconds: float) -> None:
        """Keep what was measured.

        A busy machine adds to it: 20 ms were measured as 34. It falls at once, and rises slowly.
        """
        known = self.facts.round_trip
        self._learn(
            round_trip=seconds if known is None else min(seconds, known * _ROUND_TRIP_GROWTH)
        )

    def begin(self) -> None:
        """Begin to connect; the next caller of `connection` gets the result."""
        if self._idle.open:
            with contextlib.suppress(AsynchyError):
                self._idle.put(Connection(self.server, Stop(), patient=False, listing=True))

    @contextlib.contextmanager
    def connection(self, stop: Stop) -> Iterator[Connection]:
        """A connection that is kept for the next one afterwards, unless something failed in it.

        Raises:
            ListingError, SftpNotOffered, Stopped, ToolMissing: as `Connection`.
        """
        found = self._idle_connection(stop)
        if found is None or not found.is_open:
            found = self._opened(found, stop)
            self.note_round_trip(found.round_trip)
        try:
            yield found
        except BaseException:
            found.close()
            raise
        self._idle.put(found)

    def _learn(self, **changes: Any) -> None:
        with self._learning:
            self.facts = replace(self.facts, **changes)

    def _idle_connection(self, stop: Stop) -> Connection | None:
        """One that was kept, or begun and not opened yet."""
        while (found := self._idle.take()) is not None:
            if not found.is_open:
                return found
            try:
                found.use(stop)
            except ListingError:  # it was lost meanwhile
                found.close()
            except BaseException:
                found.close()
                raise
            else:
                return found
        return None

    def _opened(self, started: Connection | None, stop: Stop) -> Connection:
        """A new connection; tried again if it is refused at once, as sshd does with some.

        Once, or several times if the server closes it before the login.
        """
        found = started or Connection(self.server, stop, listing=True)
        for tries in range(1, REFUSED_TRIES):
            began = time.monotonic()
            try:
                found.open(stop)
                return found
            except ListingError as error:
                was_quick = time.monotonic() - began < _REFUSAL_TIMEOUT
                may_retry = isinstance(error, ServerBusy) or tries == 1
                if not (error.transient and was_quick and may_retry):
                    raise
                wait = REFUSED_BACKOFF.seconds(tries)
                if tries > 1:
                    log.info("%s; trying again in %.0f s", error, wait)
                if stop.wait(wait):
                    raise
            found = Connection(self.server, stop, listing=True)
        found.open(stop)
        return found
