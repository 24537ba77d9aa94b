"""A Dask scheduler and workers of `asynchy worker` on loopback, as on several hosts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_BIN = Path(sys.executable).parent
_START = 30.0


@dataclass
class LoopbackCluster:
    """A scheduler with its workers."""

    folder: Path
    options: Sequence[str] = ()
    """Of each worker, besides."""
    prefix: Sequence[str] = ()
    """What goes before the command line of what is started, such as `ip netns exec NAME`."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def scheduler_file(self) -> Path:
        """Where the scheduler writes its address."""
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        """The scheduler's, such as `tcp://127.0.0.1:40123`."""
        return str(json.loads(self.scheduler_file.read_text(encoding="utf-8"))["address"])

    def start_scheduler(self, *arguments: str, host: str = "127.0.0.1") -> None:
        """Start it, and wait until it listens."""
        self.scheduler_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", host]
        command += ["--no-dashboard", "--scheduler-file", str(self.scheduler_file)]
        self._start("scheduler", [*command, *(arguments or ("--port", "0"))])
        self._wait(self._has_address)

    def start_worker(self, name: str, *options: str, scheduler: str | None = None) -> None:
        """Start one, and wait until the scheduler has it; `scheduler`: another address of it."""
        command = [str(_BIN / "asynchy"), "worker", "--scheduler", scheduler or self.address]
        command += ["--name", name, "--folder", str(self.folder / "dask")]
        log = self._start(name, [*command, *self.options, *options])
        self._wait(lambda: b" shards at a time" in log.read_bytes())

    def start_foreign_worker(self, name: str, resources: dict[str, float]) -> None:
        """A worker of Dask's own command."""
        told = " ".join(f"{key}={value}" for key, value in resources.items())
        command = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny"]
        command += ["--scheduler-file", str(self.scheduler_file), "--no-dashboard", "--nthreads"]
        log = self._start(name, [*command, "1", "--name", name, "--resources", told])
        self._wait(lambda: b"Registered to" in log.read_bytes())

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal all processes of a worker, as when its machine fails."""
        for pid in self.family(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def family(self, name: str) -> list[int]:
        """A worker's process, and all that it started."""
        found, parents = [self.processes[name].pid], {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        while more := [
            pid for pid, above in parents.items() if above in found and pid not in found
        ]:
            found += more
        return found

    def close(self) -> None:
        """End all of them."""
        for name in reversed(self.processes):
            self.kill(name)
        for process in self.processes.values():
            process.wait()

    def _start(self, name: str, command: Sequence[str]) -> Path:
        if (before := self.processes.get(name)) is not None:
            before.wait()
        log = self.folder / f"{name}.log"
        variables = {
            **os.environ,
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
            "DASK_TEMPORARY_DIRECTORY": str(self.folder / "dask"),
        }
        with log.open("wb") as file:
            self.processes[name] = subprocess.Popen(
                [*self.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=variables,
            )
        return log

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START
        while not ready():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)

    def _has_address(self) -> bool:
        """Whether the scheduler has written its file whole: it is empty for a moment."""
        try:
            return bool(self.address)
        except (FileNotFoundError, ValueError):
            return False

    def logs(self) -> str:
        """What all of them have logged."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text()}" for path in self.folder.glob("*.log")
        )


@contextlib.contextmanager
def loopback_cluster(
    folder: Path, workers: Sequence[str] = ("one", "two"), *options: str
) -> Iterator[LoopbackCluster]:
    """A scheduler and some workers, until the end of the block."""
    folder.mkdir(exist_ok=True)
    made = LoopbackCluster(folder, options)
    try:
        made.start_scheduler()
        for name in workers:
            made.start_worker(name)
        yield made
    finally:
        made.close()
