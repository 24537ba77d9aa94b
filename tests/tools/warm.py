"""Runs asynchy's commands in processes that are forked from one that has loaded them.

To load a command takes 0.4 s of a processor, which is half of what most tests use. The processes
are like those of a command otherwise: arguments, environment, folder, streams, exit code, signals. A
library to preload needs a server of its own; what a new process alone can get, such as a prefix
before the command, is not for it: see `Program` in conftest.py.
"""

from __future__ import annotations

import os
import pkgutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import asynchy.cli
from simulator.fork_server import ForkServer

_MODULES = (
    *(module.name for module in pkgutil.iter_modules(asynchy.cli.__path__, "asynchy.cli.")),
    # What commands load when they need it.
    "concurrent_log_handler",
)


class WarmCommands:
    """The server that has loaded the commands, and how to run them."""

    def __init__(self, python: Sequence[str], environment: Mapping[str, str]) -> None:
        """`python`: the command line of a Python that can import asynchy and run `-c`."""
        self._server = ForkServer(python, _MODULES, environment)

    def close(self) -> None:
        """End the server; commands that run are not touched."""
        self._server.close()

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], limit: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises:
            subprocess.TimeoutExpired: it took longer than `limit` seconds, and was killed.
        """
        function = "asynchy.cli.main:" + Path(command[0]).name.replace("-", "_")
        pipes = [os.pipe() for _ in range(2)]
        readers = [os.fdopen(end, "rb") for end, _ in pipes]
        nothing = os.open(os.devnull, os.O_RDONLY)
        streams = [nothing, *(end for _, end in pipes)]
        try:
            process = self._server.start(
                function, command, streams, folder=folder, environment=environment
            )
        finally:
            for end in streams:
                os.close(end)
        result: list[bytes] = [b"", b""]
        threads = [
            threading.Thread(target=lambda at=at: result.__setitem__(at, readers[at].read()))
            for at in (0, 1)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + limit
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            process.send_signal(signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, limit)
        code = process.wait()
        for reader in readers:
            reader.close()
        out, err = (text.decode() for text in result)
        return subprocess.CompletedProcess(command, code, out, err)
