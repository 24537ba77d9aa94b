"""Processes forked from one that has loaded their code, which takes longer than most of them run.

As a program, this file is the server: `python fork_server.py DESCRIPTOR MODULE...`. It loads the
modules, and forks a process for each request that comes over the socket with that descriptor. It
ends when the other end of the socket does; what it has forked goes on.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_MAX_REQUEST_BYTES = 1 << 20  # bytes of a request
_NUMBER = struct.Struct("i")
_STREAMS = 3
"""Standard input, output and error."""


class ForkServer:
    """The server, and how to ask it; for several threads."""

    def __init__(
        self, python: Sequence[str], modules: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        """`python`: the command line of a Python that can import the modules and run `-c`."""
        self._socket, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        code = Path(__file__).read_text(encoding="utf-8")  # that Python may not be able to read it
        with child_end:
            self._server = subprocess.Popen(
                [*python, "-c", code, str(child_end.fileno()), *modules],
                pass_fds=[child_end.fileno()],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us
            )

    def close(self) -> None:
        """End the server; processes that run are not touched."""
        self._socket.close()
        self._server.wait()

    def start(
        self,
        function: str,
        command: Sequence[str],
        streams: Sequence[int],
        *,
        folder: Path,
        environment: Mapping[str, str],
    ) -> Forked:
        """Run a function, `module:name`, as if the command had started its process.

        `streams`: descriptors of standard input, output and error; they stay open here.
        """
        request = json.dumps([function, list(command), str(folder), dict(environment)]).encode()
        own_end, child_end = os.pipe()
        descriptors = array.array("i", [*streams, child_end])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
        try:
            with self._lock:
                self._socket.sendmsg([request], rights)
        except BaseException:
            os.close(own_end)
            raise
        finally:
            os.close(child_end)
        return Forked(own_end)


class Forked:
    """A process that was forked; the methods are those of `subprocess.Popen`."""

    def __init__(self, exit_status: int) -> None:
        """`exit_status`: descriptor of a pipe with its number and, later, its exit code."""
        self._exit_status = exit_status
        self.returncode: int | None = None
        pid = self._number()
        if pid is None:
            os.close(exit_status)
            raise OSError("the process that forks others has died")
        self.pid = pid

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns its exit code.

        Raises:
            subprocess.TimeoutExpired: it takes longer than so many seconds.
        """
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # its end is not known here yet
                os.kill(self.pid, number)

    def _ended(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._exit_status], [], [], seconds)[0]:
            code = self._number()
            os.close(self._exit_status)
            self.returncode = -signal.SIGKILL if code is None else code
        return self.returncode

    def _number(self) -> int | None:
        text = os.read(self._exit_status, _NUMBER.size)
        return None if len(text) < _NUMBER.size else int(_NUMBER.unpack(text)[0])


def _serve(requests: socket.socket) -> Callable[[], Any]:
    """Fork a process for each request; returns in a forked process, with the function to run."""
    wakeup_fd, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    running: dict[int, int] = {}
    while True:
        ready = select.select([requests.fileno(), wakeup_fd], [], [])[0]
        if wakeup_fd in ready:
            os.read(wakeup_fd, 1024)
            _send_exit_codes(running)
        if requests.fileno() not in ready:
            continue
        space = socket.CMSG_SPACE((_STREAMS + 1) * _NUMBER.size)
        text, rights, _, _ = requests.recvmsg(_MAX_REQUEST_BYTES, space)
        if not text:
            os._exit(0)
        descriptors = array.array("i")
        for _, _, data in rights:
            descriptors.frombytes(data)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for descriptor in (requests.detach(), wakeup_fd, wakes, *running.values()):
                os.close(descriptor)
            return _become(json.loads(text), descriptors)
        *streams, result_fd = descriptors
        for descriptor in streams:
            os.close(descriptor)
        running[pid] = result_fd
        os.write(result_fd, _NUMBER.pack(pid))


def _send_exit_codes(running: dict[int, int]) -> None:
    """Reap ended processes, and send their exit codes."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        result_fd = running.pop(pid)
        try:
            os.write(result_fd, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
        except BrokenPipeError:
            pass  # nobody waits for it
        finally:
            os.close(result_fd)


def _become(request: list[Any], descriptors: Sequence[int]) -> Callable[[], Any]:
    """Make this process the requested one; returns the function to run."""
    function, command, folder, environment = request
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors[:_STREAMS]):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = command
    module, name = function.split(":")
    found: Callable[[], Any] = getattr(import_module(module), name)
    return found


def _main() -> NoReturn:
    descriptor, *modules = sys.argv[1:]
    # As in pyproject.toml for the tests.
    warnings.filterwarnings("error", module=r"(asynchy|simulator)(\.|$)")
    gc.disable()
    for module in modules:
        import_module(module)
    gc.freeze()  # memory that is never touched stays shared with the forked processes
    gc.enable()
    function = _serve(socket.socket(fileno=int(descriptor)))
    try:
        code = function()
    except SystemExit as error:
        code = error.code
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
        code = 1
    # As multiprocessing ends what it forks: to free all objects would first copy their memory.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _main()
