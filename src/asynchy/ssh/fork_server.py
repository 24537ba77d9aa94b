"""Processes of ours that do part of the work, each with a pipe for messages both ways.

A fork server, a process that has loaded the code once, forks them: sixteen that load it themselves
take more than a second of both cores of a small machine.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn, TypeAlias

from asynchy.ssh import subprocess_runner
from asynchy.ssh.pdeathsig_exec import PR_SET_PDEATHSIG

log = logging.getLogger(__name__)

_NUMBER = struct.Struct("i")
_FORK = 0
"""What a fork server is asked to do with a descriptor; any other number is a process to reap."""
_UNKNOWN = -1
_BIRTH = 30.0
"""Seconds that a fork server may take to load the code and fork."""
_STUCK = 5.0
"""Seconds that the rest of a message may take which one of both sides has begun, and a fork."""
_REAP = 1.0
"""Seconds that a process which has closed its pipe may take to end."""

Messages: TypeAlias = "Connection[Any, Any]"
"""An end of a pipe: `send`, `recv`, `poll`."""


class WorkerProcess:
    """A process that runs the function `main` of a module, with a descriptor for `to_parent`.

    It is killed when we die, even where it has been stopped: nobody is left to hear of what it
    does. A message is any object that can be pickled.
    """

    def __init__(self, module: str) -> None:
        self.pipe, theirs = Pipe()
        _limit(self.pipe.fileno())
        with theirs:
            self._fork_server, self._pid = _fork(module, theirs.fileno())
        self._watch = select.poll()
        self._watch.register(self.pipe.fileno(), 0)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._watch.poll(0)

    @property
    def state(self) -> str:
        """What the kernel says of it, as text for people; empty if it is nothing unusual."""
        return subprocess_runner.state_of(self._pid)

    def ask_to_stop(self) -> None:
        """Send it SIGTERM."""
        self._signal(signal.SIGTERM)

    def end(self, grace: float) -> int:
        """Wait so many seconds for its end, then kill it; its exit code, -1 where not known.

        What it still says is not heard.
        """
        deadline = time.monotonic() + grace
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll(max(0.0, deadline - time.monotonic())):
                self.pipe.recv_bytes()
        self._signal(signal.SIGKILL)
        self.pipe.close()
        return self._fork_server.reap(self._pid)

    def _signal(self, number: signal.Signals) -> None:
        # As long as its fork server lives and has not reaped it, the number is its own.
        if self._fork_server.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)


def _limit(descriptor: int) -> None:
    """Have what is sent and received fail, and not wait, where the other side stands still."""
    seconds = struct.pack("ll", int(_STUCK), 0)
    with socket.socket(fileno=os.dup(descriptor)) as ours:
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, seconds)


def first_heard(companions: Iterable[WorkerProcess], seconds: float) -> list[WorkerProcess]:
    """Those that have said something, or have ended; wait so many seconds where none has."""
    by_pipe = {id(companion.pipe): companion for companion in companions}
    pipes = [companion.pipe for companion in by_pipe.values()]
    return [by_pipe[id(pipe)] for pipe in wait(pipes, seconds)]


def to_parent(descriptor: int) -> Messages:
    """A companion's end of the pipe."""
    return Connection(descriptor)


class _ForkServer:
    """The other side of a process that runs `serve`. Its methods raise OSError if it has died."""

    def __init__(self, module: str) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            code = (
                f"from asynchy.ssh.fork_server import serve; serve({theirs.fileno()}, {module!r})"
            )
            self._process = subprocess_runner.start(
                [sys.executable, "-c", code],
                number=signal.SIGKILL,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._lock = threading.Lock()
        self._has_forked = False
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and all that it forked."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STUCK)
        self._socket.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, descriptor: int) -> int:
        with self._lock:
            self._socket.settimeout(_STUCK if self._has_forked else _BIRTH)
            socket.send_fds(self._socket, [_NUMBER.pack(_FORK)], [descriptor])
            forked = self._answer()
            self._has_forked = True
            return forked

    def reap(self, process: int) -> int:
        try:
            with self._lock:
                self._socket.settimeout(2 * _REAP)
                self._socket.sendall(_NUMBER.pack(process))
                return self._answer()
        except OSError:
            return _UNKNOWN

    def _answer(self) -> int:
        try:
            answer = self._socket.recv(_NUMBER.size)
        except TimeoutError:  # those that it forked go with it
            state = subprocess_runner.state_of(self._process.pid) or "it stands still"
            log.warning(
                "process %s, which starts the streams, does not answer (%s): it is killed",
                self._process.pid, state,
            )  # fmt: skip
            self._process.kill()
            raise
        if len(answer) != _NUMBER.size:
            raise BrokenPipeError("it has died")
        number: int = _NUMBER.unpack(answer)[0]
        return number


_fork_servers: dict[str, _ForkServer] = {}
_lock = threading.Lock()


def load(module: str) -> None:
    """Have the code of a module loaded meanwhile, for companions that will run it soon."""
    with _lock:
        if module not in _fork_servers:
            _fork_servers[module] = _ForkServer(module)


def _fork(module: str, descriptor: int) -> tuple[_ForkServer, int]:
    with _lock:
        server = _fork_servers.get(module)
        if server is not None:
            with contextlib.suppress(OSError):
                return server, server.fork(descriptor)
            server.close()
        server = _fork_servers[module] = _ForkServer(module)
        return server, server.fork(descriptor)


def serve(descriptor: int, module: str) -> None:
    """Be the fork server: fork a process for every descriptor that comes, until nobody asks."""
    main = import_module(module).main
    me = os.getpid()
    with socket.socket(fileno=descriptor) as asked:
        while True:
            message, descriptors, _, _ = socket.recv_fds(asked, _NUMBER.size, 1)
            if len(message) != _NUMBER.size:
                return
            (process,) = _NUMBER.unpack(message)
            if process != _FORK:
                asked.sendall(_NUMBER.pack(_reaped(process)))
                continue
            process = os.fork()
            if not process:
                asked.close()
                _become_companion(me, main, descriptors[0])
            os.close(descriptors[0])
            asked.sendall(_NUMBER.pack(process))


def _become_companion(parent: int, main: Any, descriptor: int) -> NoReturn:
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            os.setsid()
            main(descriptor)
            code = 0
    except BaseException:  # noqa: BLE001 - it must not go on as a second fork server
        traceback.print_exc()
    finally:
        os._exit(code)


def _reaped(process: int) -> int:
    deadline = time.monotonic() + _REAP
    while time.monotonic() < deadline:
        try:
            found, status = os.waitpid(process, os.WNOHANG)
        except ChildProcessError:
            return _UNKNOWN
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return _UNKNOWN
