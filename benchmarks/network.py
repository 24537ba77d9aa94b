"""Two network namespaces and a delay line between them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_SOURCE = Path(__file__).with_name("delay_line.c")
SERVER = "10.97.83.2"
_CLIENT = "10.97.83.1"
_CONNECT = """
import socket, sys, time
for _ in range(5):
    with socket.socket() as s:
        began = time.monotonic()
        s.connect_ex((sys.argv[1], 9))
        print(time.monotonic() - began)
"""


class Network:
    """A link of some round trip (in seconds) and rate (in bits a second; None: no limit).

    Without either it is a pair of the kernel's own devices, else a delay line. Only root may make
    one. On leaving, the namespaces and all that runs in them are gone.
    """

    def __init__(
        self, round_trip: float, rate: float | None = None, name: str | None = None
    ) -> None:
        """`name`: what the names of both namespaces begin with."""
        name = name or f"asynchy-{os.getpid()}"
        self._delay = round(round_trip / 2 * 1e6)
        self._rate = rate or 0
        self._names = [f"{name}-{end}" for end in ("home", "facility")]
        self._folder = tempfile.TemporaryDirectory(prefix="asynchy-line-")
        self._line: subprocess.Popen[str] | None = None
        self.cpu_seconds = 0.0
        """What the delay line took; known at the end."""

    def __enter__(self) -> Self:
        try:
            for name in self._names:
                subprocess.run(["ip", "netns", "add", name], check=True)
            if self._delay or self._rate:
                self._start_line()
            else:
                home, facility = self._names
                pair = f"link add line netns {home} type veth peer name line netns {facility}"
                subprocess.run(["ip", *pair.split()], check=True)
            for name, mine, other in zip(
                self._names, (_CLIENT, SERVER), (SERVER, _CLIENT), strict=True
            ):
                for command in (
                    "link set lo up",
                    f"addr add {mine} peer {other} dev line",
                    "link set line txqueuelen 10000 up",
                ):
                    subprocess.run(["ip", "-n", name, *command.split()], check=True)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start_line(self) -> None:
        program = Path(self._folder.name) / "delay_line"
        subprocess.run(["cc", "-O2", "-pthread", "-o", program, _SOURCE], check=True)
        self._line = subprocess.Popen(
            [program, *self._names, str(self._delay), str(self._rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line.stdout is not None
        if self._line.stdout.readline() != "ready\n":
            raise RuntimeError("the delay line could not be set up")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._line is not None:
            told, _ = self._line.communicate("", timeout=10)
            self.cpu_seconds = float(told or 0)
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        self._folder.cleanup()

    @property
    def client(self) -> list[str]:
        """What goes before a command to run it at home."""
        return ["ip", "netns", "exec", self._names[0]]

    @property
    def server(self) -> list[str]:
        """What goes before a command to run it at the facility."""
        return ["ip", "netns", "exec", self._names[1]]

    def received(self) -> int:
        """Bytes that have arrived at home since the link was made."""
        told = subprocess.run(
            [*self.client, "cat", "/sys/class/net/line/statistics/rx_bytes"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return int(told)

    def round_trip(self) -> float:
        """The round trip as it is measured, in seconds: a closed port says no after one."""
        told = subprocess.run(
            [*self.client, sys.executable, "-c", _CONNECT, SERVER],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return statistics.median(map(float, told.split()))
