"""Runs asynchy's commands in processes that are forked from one that has loaded them.

To load a command takes 0.4 s of a processor, which is half of what most tests use. `WarmCommands`
starts a server once; for each command it forks a process that is like one of its own otherwise:
arguments, environment, folder, streams, exit code, signals. A library to preload needs a server of
its own; what a new process alone can get, such as a prefix before the command, is not for it: see
`Program` in conftest.py.

As a program, this file is that server: `python warm.py NUMBER`, the descriptor of its socket.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_LARGEST = 1 << 20  # bytes of a request


class WarmCommands:
    """The server, and how to ask it."""

    def __init__(self, server: Sequence[str], environment: Mapping[str, str]) -> None:
        """`server`: the command line of a Python that can import asynchy and run `-c`."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        code = Path(__file__).read_text()
        with theirs:
            self._server = subprocess.Popen(
                [*server, "-c", code, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
            )

    def close(self) -> None:
        """End the server; commands that run are not touched."""
        self._socket.close()
        self._server.wait()

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], limit: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises:
            subprocess.TimeoutExpired: it took longer than `limit` seconds, and was killed.
        """
        pipes = [os.pipe() for _ in range(3)]
        readers = [os.fdopen(end, "rb") for end, _ in pipes]
        request = [list(command), str(folder), dict(environment)]
        writers = array.array("i", [end for _, end in pipes])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, writers)]
        try:
            with self._lock:
                self._socket.sendmsg([json.dumps(request).encode()], rights)
        finally:
            for end in writers:
                os.close(end)
        result: list[bytes] = [b"", b""]
        threads = [
            threading.Thread(target=lambda at=at: result.__setitem__(at, readers[at].read()))
            for at in (0, 1)
        ]
        for thread in threads:
            thread.start()
        pid = int(readers[2].readline())
        deadline = time.monotonic() + limit
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, limit)
        code = int(readers[2].readline())
        for reader in readers:
            reader.close()
        out, err = (text.decode() for text in result)
        return subprocess.CompletedProcess(command, code, out, err)


def _serve(requests: socket.socket) -> None:
    """Fork a process for each request; returns in the process that runs a command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        text, rights, _, _ = requests.recvmsg(_LARGEST, socket.CMSG_SPACE(3 * 4))
        if not text:
            os._exit(0)
        descriptors = array.array("i")
        for _, _, data in rights:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if os.fork() == 0:
            requests.close()
            command, folder, environment = json.loads(text)
            _take(command, folder, environment, *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _take(command: list[str], folder: str, environment: dict[str, str], *ends: int) -> None:
    """Become the command in a child, and tell its number and its exit code in this process."""
    out, err, verdict = ends
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        for end in (out, err):
            os.close(end)
        os.write(verdict, f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        os.write(verdict, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    os.close(verdict)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for end in (out, err):
        os.close(end)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = command


def _main() -> Any:
    import importlib  # noqa: PLC0415 - of the server alone
    import pkgutil  # noqa: PLC0415

    import asynchy.cli  # noqa: PLC0415

    for module in pkgutil.iter_modules(asynchy.cli.__path__, "asynchy.cli."):
        importlib.import_module(module.name)
    # What commands load when they need it: the first one makes a catalogue, nearly every time.
    for name in ("alembic.command", "alembic.ddl.sqlite", "concurrent_log_handler"):
        importlib.import_module(name)
    from asynchy.cli import main  # noqa: PLC0415

    _serve(socket.socket(fileno=int(sys.argv[1])))
    name = Path(sys.argv[0]).name
    return getattr(main, name.replace("-", "_"))()


if __name__ == "__main__":
    sys.exit(_main())
