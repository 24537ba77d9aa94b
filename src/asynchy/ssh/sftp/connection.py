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

_POLL_INTERVAL = 0.2  # seconds
"""Seconds between two checks whether a stop was requested."""
_CONNECT_POLL_INTERVAL = 0.02
"""The same during the connection set-up: the caller's work may be done before it ends."""
_PIPE_BYTES = 1 << 20
"""Bytes between ssh and us; more than this a user may not ask for: pipe(7)."""
_SMALL_READ, _LARGE_READ = 128 << 10, 512 << 10  # bytes
"""Bytes of a read that was hardly worth it, and of one that left ssh little room in the pipe."""
_MIN_GATHER, _MAX_GATHER, _MAX_REMOTE_GATHER = 0.0002, 0.004, 0.02  # seconds
"""Seconds to let bytes gather in the pipe; longer over a distance, since they come more slowly."""
_KILL_TIMEOUT = 2.0  # seconds
"""Seconds that ssh may take to end once it was killed; it may hang in the kernel."""
_PROBE_AFTER = 5.0  # seconds
"""Seconds of silence after which a connection is asked whether it is still there."""
_STDERR_BYTES = 8192
_REQUEST_IDS = 1 << 32
_SSHS_OWN = (None, SSH_FAILED, -signal.SIGKILL)
"""Exit codes that are ssh's own, not the remote command's: still running, failed, or ended by
us.
"""


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
        """The limits that the server reports; zeros if it reports none."""
        self.round_trip = 0.0
        """Seconds from a question to its answer, when it was connected."""
        self._remote = remote
        self._stop = stop
        self._framer = decoder.Framer()
        self._out_buffer = bytearray()
        self._waiting: dict[int, OnAnswer] = {}
        self._next_id = 0
        self._stderr = b""
        self._last_received = time.monotonic()
        self.on_wait = on_wait
        self._slot = connection_limit.acquire(remote, stop, patient=patient, on_wait=on_wait)
        try:
            self._process = subprocess_runner.start(
                [
                    *remote.ssh_command(compressed=listing, subsystem=True),
                    "--",
                    remote.host,
                    "sftp",
                ],
                number=signal.SIGKILL,  # it has no state to save, and may ignore anything else
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
            fcntl.fcntl(self._stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._writing = False
        self._gathering = _MIN_GATHER
        with contextlib.suppress(BrokenPipeError):  # ssh's last messages have the reason
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
        """Whether it was connected when the last bytes came."""
        return self.version > 0

    def open(self, stop: Stop) -> None:
        """Wait until it is connected; if that fails, close it."""
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
        idle_seconds = time.monotonic() - self._last_received
        self._last_received = time.monotonic()
        if self._process.poll() is not None:
            raise self._lost_error()
        if idle_seconds < _PROBE_AFTER:
            return
        self.ask(lambda number: protocol.real_path(number, b"."), lambda _answer: None)
        self.run()

    def ask(self, request: Request, on_answer: OnAnswer) -> None:
        """Queue a request; `on_answer` gets the answer during a later `turn`, and may ask more.

        A `ProtocolError` that it raises counts as the server's.
        """
        if not self._waiting:
            self._last_received = time.monotonic()
        number = self._next_id
        self._next_id = (number + 1) % _REQUEST_IDS
        self._waiting[number] = on_answer
        self._out_buffer += request(number)

    def turn(self, seconds: float = _POLL_INTERVAL, *, gather: bool = False) -> None:
        """Write and read all that is possible, and hand over the answers.

        Waits up to `seconds` seconds for something to read. With `gather`, first let some bytes
        gather: ssh writes 32 KiB at a time, and a read for each of them would cost more than its
        bytes.
        """
        if gather:
            time.sleep(self._gathering)
        for payload in self._move(seconds):
            try:
                number, answer = decoder.parse_answer(payload)
                on_answer = self._waiting.pop(number, None)
                if on_answer is None:
                    raise ProtocolError(f"an answer to request {number}, which waits for none")
                on_answer(answer)
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
            self._process.wait(_KILL_TIMEOUT)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                _pipe(stream).close()
        self._slot.release()

    def _greet(self) -> None:
        greeting: list[memoryview] = []
        while not greeting:
            greeting += self._move(_CONNECT_POLL_INTERVAL)
        try:
            hello = decoder.parse_hello(greeting[0])
            if len(greeting) > 1:
                raise ProtocolError("answers to nothing")
        except ProtocolError as error:
            raise self._no_sftp(error) from None
        self.version = hello.version
        asked_at = time.monotonic()
        if hello.extensions.get(protocol.LIMITS) == b"1":
            self.ask(lambda number: protocol.extended(number, protocol.LIMITS), self._limited)
        else:
            self.ask(lambda number: protocol.real_path(number, b"."), lambda _answer: None)
        self.run()
        self.round_trip = time.monotonic() - asked_at

    def _limited(self, answer: Answer) -> None:
        if isinstance(answer, Reply):
            self.limits = decoder.parse_limits(answer.body)

    def _move(self, seconds: float) -> list[memoryview]:
        """Write what the pipe takes and read what is there; the packets that are whole now."""
        self._watch_writing()
        packets: list[memoryview] = []
        for key, events in self._selector.select(seconds):
            if events & selectors.EVENT_WRITE:
                self._write()
            elif key.fileobj is self._stdout:
                packets += self._read()
            else:
                self._read_stderr()
        self.on_wait()
        if self._stop.requested:
            raise Stopped("stopped")
        if time.monotonic() - self._last_received > self._remote.timeout:
            raise (ListingError if self.is_open else ServerUnreachable)(
                f"{self._remote.host}: the server sent nothing for {self._remote.timeout} s",
                hint="it is tried again in the next run",
            )
        return packets

    def _watch_writing(self) -> None:
        has_output = bool(self._out_buffer)
        if has_output and not self._writing:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        elif self._writing and not has_output:
            self._selector.unregister(self._stdin)
        self._writing = has_output

    def _write(self) -> None:
        try:
            while self._out_buffer:  # one call takes many small requests
                del self._out_buffer[: os.write(self._stdin.fileno(), self._out_buffer)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            raise self._lost_error() from None

    def _read(self) -> list[memoryview]:
        try:
            count = os.readv(self._stdout.fileno(), [self._framer.space()])
        except BlockingIOError:
            return []
        if not count:
            raise self._lost_error()
        if count < _SMALL_READ:
            max_gathering = min(max(_MAX_GATHER, self.round_trip / 8), _MAX_REMOTE_GATHER)
            self._gathering = min(2 * self._gathering, max_gathering)
        elif count > _LARGE_READ:
            self._gathering = max(self._gathering / 2, _MIN_GATHER)
        try:
            packets = list(self._framer.filled(count))
        except ProtocolError as error:
            raise self._no_sftp(error) from None
        if packets:  # a packet that never ends is silence, too
            self._last_received = time.monotonic()
        return packets

    def _read_stderr(self) -> None:
        stream = _pipe(self._process.stderr)
        with contextlib.suppress(BlockingIOError):
            data = os.read(stream.fileno(), _STDERR_BYTES)
            if not data:
                self._selector.unregister(stream)
            self._stderr = (self._stderr + data)[-_STDERR_BYTES:]

    def _lost_error(self) -> ListingError:
        """The error for a lost connection, from ssh's own messages."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(KeyError, OSError, ValueError):
            self._read_stderr()
        stderr = self._stderr.decode("utf-8", "backslashreplace").strip()
        code = self._process.poll()
        lines = without_origin(stderr).splitlines()
        detail = f": {escaped(lines[-1], limit=200)}" if lines else ""
        host = self._remote.host
        if not self.is_open and ("subsystem request failed" in stderr or code not in _SSHS_OWN):
            # A key may be restricted to another command, such as rrsync(1).
            return SftpNotOffered(f"{host} offers no SFTP{detail}", hint="ask the facility for it")
        # OpenSSH's server does not forward a subsystem's stderr.
        hint = None if self.is_open else "`ssh USER@HOST true` may show why; else ask the facility"
        explanation = cause(stderr, code) or Explanation(
            f"the SFTP connection was ended{detail}", hint
        )
        kind = ListingError if self.is_open else ServerUnreachable
        return replace(explanation, reason=f"{host}: {explanation.reason}").as_error(kind)

    def _no_sftp(self, error: ProtocolError) -> ListingError:
        if not self.is_open and (text := self._framer.text()):
            first_line = escaped(text.strip().partition(b"\n")[0], limit=80) or "an empty line"
            return ServerUnreachable(
                f"the login shell of {self._remote.user} at {self._remote.host} prints text where "
                f'SFTP is to begin: "{first_line}"',
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
