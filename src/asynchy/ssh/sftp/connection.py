"""One SFTP connection through OpenSSH's client, with many requests in flight.

The connection belongs to one thread. Requests are queued by `ask` with a function that gets the
answer; `turn` moves bytes and calls those functions. Answers may come in any order.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import IO, Self

from asynchy.errors import ListingError, ServerUnreachable, SftpNotOffered, Stopped
from asynchy.model import heartbeat
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.ssh import connection_limit, subprocess_runner
from asynchy.ssh.error_causes import SSH_FAILED, Explanation, cause, without_origin
from asynchy.ssh.server import Server
from asynchy.ssh.sftp import decoder, protocol
from asynchy.ssh.sftp.protocol import Answer, Limits, ProtocolError, Reply

OnAnswer = Callable[[Answer], None]
Request = Callable[[int], bytes]
"""A request's bytes, given its number."""

_TICK = 0.2
"""Seconds between two looks at the wish to stop."""
_GREETING = 0.02
"""The same while it connects: what was to be done on it may be done before it has."""
_PIPE = 1 << 20
"""Bytes between ssh and us; more than this a user may not ask for: pipe(7)."""
_LITTLE, _MUCH = 128 << 10, 512 << 10
"""Bytes of a read that was hardly worth it, and of one that left ssh little room in the pipe."""
_SHORTEST, _LONGEST, _FARTHEST = 0.0002, 0.004, 0.02
"""Seconds to let bytes gather in the pipe; over a distance, where they come slower, longer."""
_KILLED = 2.0
"""Seconds that ssh may take to end once it was killed; it may hang in the kernel."""
_FRESH = 5.0
"""Seconds of silence after which a connection is asked whether it is still there."""
_STDERR_KEPT = 8192
_NUMBERS = 1 << 32
_SSHS_OWN = (None, SSH_FAILED, -signal.SIGKILL)
"""How ssh ends where not the command at the other end did: it is still there, failed, or was ended
by us."""


class Connection:
    """A connection to the server's SFTP subsystem; a context manager.

    Methods raise:
        ListingError: the connection could not be made, broke off, was silent for too long, or
            sent an invalid SFTP response.
        SftpNotOffered: the server has no SFTP.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh is not installed.
    """

    def __init__(
        self,
        remote: Server,
        stop: Stop,
        *,
        patient: bool = True,
        listing: bool = False,
        on_wait: Callable[[], None] = heartbeat.beat,
    ) -> None:
        """Begin to connect; `open` waits for it.

        Unless `patient`, a host that has no connection to spare is an error, too. `listing`: it
        carries names, which compress to a tenth: over a distance, TCP gathers speed but slowly.
        `on_wait` is called while it is waited for a connection, or for the server: a wait for the
        server ends after `timeout`.
        """
        self.version = 0
        """The version of the protocol that the server speaks."""
        self.limits = Limits(0, 0, 0, 0)
        """What the server says that it takes at most; zeros where it does not say."""
        self.round_trip = 0.0
        """Seconds from a question to its answer, when it was connected."""
        self._remote = remote
        self._stop = stop
        self._framer = decoder.Framer()
        self._out = bytearray()
        self._waiting: dict[int, OnAnswer] = {}
        self._next = 0
        self._stderr = b""
        self._heard = time.monotonic()
        self.on_wait = on_wait
        self._slot = connection_limit.take(remote, stop, patient=patient, on_wait=on_wait)
        try:
            self._process = subprocess_runner.start(
                [
                    *remote.ssh_command(compressed=listing, subsystem=True),
                    "--",
                    remote.host,
                    "sftp",
                ],
                number=signal.SIGKILL,  # it has nothing to keep, and may hear nothing else
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except BaseException:
            self._slot.release()
            raise
        self._stdin, self._stdout = _pipe(self._process.stdin), _pipe(self._process.stdout)
        self._selector = selectors.DefaultSelector()
        for stream in (self._stdout, _pipe(self._process.stderr)):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)
        os.set_blocking(self._stdin.fileno(), False)
        with contextlib.suppress(OSError):  # it is only faster
            fcntl.fcntl(self._stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
        self._writing = False
        self._gathering = _SHORTEST
        with contextlib.suppress(BrokenPipeError):  # ssh's last words say why
            os.write(self._stdin.fileno(), protocol.init())

    def __enter__(self) -> Self:
        self.open(self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def in_flight(self) -> int:
        """Requests that have no answer yet."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether it was connected, when it was last heard of."""
        return self.version > 0

    def open(self, stop: Stop) -> None:
        """Wait until it is connected; where it cannot be, it is closed."""
        self._stop = stop
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def use(self, stop: Stop) -> None:
        """Go on with a connection that has been idle, for another who can be stopped.

        Raises as the other methods where the connection is lost.
        """
        self._stop = stop
        silent = time.monotonic() - self._heard
        self._heard = time.monotonic()
        if self._process.poll() is not None:
            raise self._gone()
        if silent < _FRESH:
            return
        self.ask(lambda number: protocol.real_path(number, b"."), lambda _answer: None)
        self.run()

    def ask(self, request: Request, then: OnAnswer) -> None:
        """Queue a request; `then` gets the answer during a later `turn`, and may ask more.

        A `ProtocolError` that it raises counts as the server's.
        """
        if not self._waiting:
            self._heard = time.monotonic()
        number = self._next
        self._next = (number + 1) % _NUMBERS
        self._waiting[number] = then
        self._out += request(number)

    def turn(self, patience: float = _TICK, *, gather: bool = False) -> None:
        """Write and read what can be, and hand over the answers.

        Where nothing can be read, wait so many seconds. With `gather`, first let some bytes gather:
        ssh writes 32 KiB at a time, and a read for each of them would cost more than its bytes.
        """
        if gather:
            time.sleep(self._gathering)
        for payload in self._move(patience):
            try:
                number, answer = decoder.parse_answer(payload)
                then = self._waiting.pop(number, None)
                if then is None:
                    raise ProtocolError(f"an answer to request {number}, which waits for none")
                then(answer)
            except ProtocolError as error:
                raise self._no_sftp(error) from None

    def run(self) -> None:
        """Take turns until every request has its answer."""
        while self._waiting:
            self.turn()

    def close(self) -> None:
        """End the connection at once."""
        self._selector.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILLED)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                _pipe(stream).close()
        self._slot.release()

    def _greet(self) -> None:
        greeting: list[memoryview] = []
        while not greeting:
            greeting += self._move(_GREETING)
        try:
            hello = decoder.parse_hello(greeting[0])
            if len(greeting) > 1:
                raise ProtocolError("answers to nothing")
        except ProtocolError as error:
            raise self._no_sftp(error) from None
        self.version = hello.version
        asked = time.monotonic()
        if hello.extensions.get(protocol.LIMITS) == b"1":
            self.ask(lambda number: protocol.extended(number, protocol.LIMITS), self._limited)
        else:
            self.ask(lambda number: protocol.real_path(number, b"."), lambda _answer: None)
        self.run()
        self.round_trip = time.monotonic() - asked

    def _limited(self, answer: Answer) -> None:
        if isinstance(answer, Reply):
            self.limits = decoder.parse_limits(answer.body)

    def _move(self, patience: float) -> list[memoryview]:
        """Write what the pipe takes and read what is there; the packets that are whole now."""
        self._watch_writing()
        found: list[memoryview] = []
        for key, events in self._selector.select(patience):
            if events & selectors.EVENT_WRITE:
                self._write()
            elif key.fileobj is self._stdout:
                found += self._read()
            else:
                self._hear_stderr()
        self.on_wait()
        if self._stop.requested:
            raise Stopped("stopped")
        if time.monotonic() - self._heard > self._remote.timeout:
            raise (ListingError if self.is_open else ServerUnreachable)(
                f"{self._remote.host}: the server said nothing for {self._remote.timeout} s",
                hint="it is tried again in the next run",
            )
        return found

    def _watch_writing(self) -> None:
        wanted = bool(self._out)
        if wanted and not self._writing:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        elif self._writing and not wanted:
            self._selector.unregister(self._stdin)
        self._writing = wanted

    def _write(self) -> None:
        try:
            while self._out:  # one call takes many small requests
                del self._out[: os.write(self._stdin.fileno(), self._out)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            raise self._gone() from None

    def _read(self) -> list[memoryview]:
        try:
            count = os.readv(self._stdout.fileno(), [self._framer.space()])
        except BlockingIOError:
            return []
        if not count:
            raise self._gone()
        if count < _LITTLE:
            longest = min(max(_LONGEST, self.round_trip / 8), _FARTHEST)
            self._gathering = min(2 * self._gathering, longest)
        elif count > _MUCH:
            self._gathering = max(self._gathering / 2, _SHORTEST)
        try:
            found = list(self._framer.filled(count))
        except ProtocolError as error:
            raise self._no_sftp(error) from None
        if found:  # a packet that never ends is silence, too
            self._heard = time.monotonic()
        return found

    def _hear_stderr(self) -> None:
        stream = _pipe(self._process.stderr)
        with contextlib.suppress(BlockingIOError):
            data = os.read(stream.fileno(), _STDERR_KEPT)
            if not data:
                self._selector.unregister(stream)
            self._stderr = (self._stderr + data)[-_STDERR_KEPT:]

    def _gone(self) -> ListingError:
        """Why the other side is gone: ssh's own words say it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(KeyError, OSError, ValueError):
            self._hear_stderr()
        words = self._stderr.decode("utf-8", "backslashreplace").strip()
        code = self._process.poll()
        lines = without_origin(words).splitlines()
        last = f": {escaped(lines[-1], limit=200)}" if lines else ""
        host = self._remote.host
        if not self.is_open and ("subsystem request failed" in words or code not in _SSHS_OWN):
            # A key may be for another command alone, such as rrsync(1), whatever is asked for.
            return SftpNotOffered(f"{host} offers no SFTP{last}", hint="ask the facility for it")
        # OpenSSH's server keeps back what a subsystem says on stderr.
        hint = None if self.is_open else "`ssh USER@HOST true` may show why; else ask the facility"
        found = cause(words, code) or Explanation(f"the SFTP connection was ended{last}", hint)
        kind = ListingError if self.is_open else ServerUnreachable
        return replace(found, reason=f"{host}: {found.reason}").as_error(kind)

    def _no_sftp(self, error: ProtocolError) -> ListingError:
        if not self.is_open and (text := self._framer.text()):
            first = escaped(text.strip().partition(b"\n")[0], limit=80) or "an empty line"
            return ServerUnreachable(
                f"the login shell of {self._remote.user} at {self._remote.host} prints text where "
                f'SFTP is to begin: "{first}"',
                hint="ask the facility to have it print nothing without a terminal; "
                "`ssh USER@HOST true` shows all of it",
            )
        return ListingError(
            f"the server sent an invalid SFTP response: {error}",
            hint="check with `sftp USER@HOST` what it offers",
        )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
