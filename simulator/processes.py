"""Parts of the simulator that run in processes of their own: sshd's supervisor, portal, mail."""

from __future__ import annotations

import atexit
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from simulator.fork_server import ForkServer

_REPOSITORY = Path(__file__).parents[1]
_MODULES = ("simulator.mail", "simulator.portal.process", "simulator.supervise")
_END_TIMEOUT = 60.0  # seconds
"""Seconds; a busy machine takes long to run a few lines of Python."""


class Process:
    """A process that runs `main` of a module until its standard input ends.

    Its output is in `output`, or in the file `log`.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
    ) -> None:
        ends = [*os.pipe(), *os.pipe()]
        child_end, self.input, self.output = ends[0], os.fdopen(ends[1], "w"), os.fdopen(ends[2])
        out, error = (ends[3], 2) if log is None else (log.fileno(), log.fileno())
        try:
            self._process = fork_server(os.environ.get("LD_PRELOAD", "")).start(
                f"{module}:main",
                [module, *arguments],
                (child_end, out, error),
                folder=Path("/"),
                environment=environment or os.environ,
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(child_end)
            os.close(ends[3])
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it: close its standard input, send SIGTERM, and kill it if that does not help."""
        self._close()
        # A fork of this process may hold the standard input open, too.
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _close(self) -> None:
        self.input.close()
        self.output.close()


@functools.cache
def fork_server(preload: str) -> ForkServer:
    """The server that forks the simulator's processes; it ends with this process.

    `preload`: the libraries that it and they load first; ld.so(8).
    """
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY), "LD_PRELOAD": preload}
    server = ForkServer([sys.executable], _MODULES, environment)
    atexit.register(server.close)
    return server
