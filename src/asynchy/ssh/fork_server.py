"""Worker processes, each with a pipe for messages in both directions.

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
"""The request to fork, sent with a descriptor; any other number is the id of a process to reap."""
_UNKNOWN = -1
_FORK_TIMEOUT = 30.0  # seconds
"""Seconds that a fork server may take to load the code and fork."""
_MESSAGE_TIMEOUT = 5.0  # seconds
"""Seconds that the rest of a message may take once its sender has begun it, and a fork."""
_REAP_TIMEOUT = 1.0  # seconds
"""Seconds that a process which has closed its pipe may take to end."""

Messages: TypeAlias = "Connection[Any, Any]"
"""An end of a pipe: `send`, `recv`, `poll`."""


class WorkerProcess:
    """A process that runs the function `main` of a module, with a descriptor for `to_parent`.

    It is killed when we die, even if it has been stopped: nobody is left to receive its messages.
    A message is any object that can be pickled.
    """

    def __init__(self, module: str) -> None:
        self.pipe, child_end = Pipe()
        _limit(self.pipe.fileno())
        with child_end:
            self._fork_server, self._pid = _fork(module, child_end.fileno())
        self._watch = select.poll()
        self._watch.register(self.pipe.fileno(), 0)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._watch.poll(0)

    @property
    def state(self) -> str:
        """Its state in the kernel, as text for people; empty if it is not unusual."""
        return subprocess_runner.state_of(self._pid)

    def ask_to_stop(self) -> None:
        """Send it SIGTERM."""
        self._signal(signal.SIGTERM)

    def end(self, grace: float) -> int:
        """Wait up to `grace` seconds for its end, then kill it; its exit code, -1 if unknown.

        Messages that it still sends are discarded.
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
    """Let sending and receiving fail, not block, if the other side does not respond."""
    seconds = struct.pack("ll", int(_MESSAGE_TIMEOUT), 0)
    with socket.socket(fileno=os.dup(descriptor)) as own_end:
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            own_end.setsockopt(socket.SOL_SOCKET, option, seconds)


def wait_for_messages(workers: Iterable[WorkerProcess], seconds: float) -> list[WorkerProcess]:
    """The processes that have sent a message, or have ended; waits up to `seconds` for one."""
    by_pipe = {id(worker.pipe): worker for worker in workers}
    pipes = [worker.pipe for worker in by_pipe.values()]
    return [by_pipe[id(pipe)] for pipe in wait(pipes, seconds)]


def to_parent(descriptor: int) -> Messages:
    """A worker's end of the pipe."""
    return Connection(descriptor)


class _ForkServer:
    """The other side of a process that runs `serve`. Its methods raise OSError if it has died."""

    def __init__(self, module: str) -> None:
        self._socket, child_end = socket.socketpair()
        with child_end:
            arguments = f"{child_end.fileno()}, {module!r}"
            code = f"from asynchy.ssh.fork_server import serve; serve({arguments})"
            self._process = subprocess_runner.start(
                [sys.executable, "-c", code],
                number=signal.SIGKILL,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[child_end.fileno()],
            )
        self._lock = threading.Lock()
        self._late_answers = 0
        """Answers that nobody waits for any more; they come before the next one."""
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and all that it forked."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_MESSAGE_TIMEOUT)
        self._socket.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, descriptor: int) -> int:
        with self._lock:
            self._socket.settimeout(_MESSAGE_TIMEOUT)
            socket.send_fds(self._socket, [_NUMBER.pack(_FORK)], [descriptor])
            try:
                try:
                    return self._answer()
                except TimeoutError:
                    if subprocess_runner.is_stopped(self._process.pid):
                        raise
                # It loads the code, or the machine is slow: to kill it ends all its streams.
                self._socket.settimeout(_FORK_TIMEOUT)
                return self._answer()
            except TimeoutError:
                state = subprocess_runner.state_of(self._process.pid) or "it stands still"
                log.warning(
                    "process %s, which starts the streams, does not answer (%s); killing it",
                    self._process.pid, state,
                )  # fmt: skip
                self._process.kill()
                raise

    def reap(self, process: int) -> int:
        try:
            with self._lock:
                self._socket.settimeout(2 * _REAP_TIMEOUT)
                self._socket.sendall(_NUMBER.pack(process))
                try:
                    return self._answer()
                except TimeoutError:  # its other streams go on
                    self._late_answers += 1
                    return _UNKNOWN
        except OSError:
            return _UNKNOWN

    def _answer(self) -> int:
        while True:
            answer = self._socket.recv(_NUMBER.size)
            if len(answer) != _NUMBER.size:
                raise BrokenPipeError("it has died")
            if not self._late_answers:
                break
            self._late_answers -= 1
        number: int = _NUMBER.unpack(answer)[0]
        return number


_fork_servers: dict[str, _ForkServer] = {}
_lock = threading.Lock()


def load(module: str) -> None:
    """Have the code of a module loaded meanwhile, for workers that will run it soon."""
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
    own_pid = os.getpid()
    with socket.socket(fileno=descriptor) as requests:
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, _NUMBER.size, 1)
            if len(message) != _NUMBER.size:
                return
            (process,) = _NUMBER.unpack(message)
            if process != _FORK:
                requests.sendall(_NUMBER.pack(_reaped(process)))
                continue
            process = os.fork()
            if not process:
                requests.close()
                _run_worker(own_pid, main, descriptors[0])
            os.close(descriptors[0])
            requests.sendall(_NUMBER.pack(process))


def _run_worker(parent: int, main: Any, descriptor: int) -> NoReturn:
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
    deadline = time.monotonic() + _REAP_TIMEOUT
    while time.monotonic() < deadline:
        try:
            reaped_pid, status = os.waitpid(process, os.WNOHANG)
        except ChildProcessError:
            return _UNKNOWN
        if reaped_pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return _UNKNOWN
