"""Many runs, some of them side by side, each on a stage of its own."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from tests.conftest import ROOT
from tests.faults.plan import Kind, make_plan
from tests.faults.run import Result, carry_out
from tests.faults.stage import Stage

_CLONE_NEWNS = 0x20000
"""unshare(2): mounts of one's own."""


def campaign(
    seeds: Sequence[int], jobs: int = 1, only: frozenset[Kind] = frozenset(Kind)
) -> Iterator[Result]:
    """What each run found, as soon as it has ended; so many at a time.

    Runs share nothing but the machine: a run alone is the same as among others. Raises ChildProcessError
    where runs are missing at the end.
    """
    # Not forked: the parent may have threads.
    spawn = multiprocessing.get_context("spawn")
    ours: dict[Connection, multiprocessing.process.BaseProcess] = {}
    try:
        for number in range(min(jobs, len(seeds))):
            receiving, sending = spawn.Pipe(duplex=False)
            worker = spawn.Process(target=_work, args=(sending, seeds[number::jobs], only))
            worker.start()
            sending.close()
            ours[receiving] = worker
        missing = len(seeds)
        while open_ends := [end for end in ours if not end.closed]:
            for end in wait(open_ends):
                assert isinstance(end, Connection)
                try:
                    yield end.recv()
                    missing -= 1
                except EOFError:
                    end.close()
        if missing:
            raise ChildProcessError(f"{missing} runs ended without a word")
    finally:
        for end, worker in ours.items():
            end.close()
            worker.join()


def _work(end: Connection, seeds: Sequence[int], only: frozenset[Kind]) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    mounts = _own_mounts()
    # Whoever is told to stop stops at once, and so does who has nobody left to tell.
    with suppress(KeyboardInterrupt, BrokenPipeError):
        for seed in seeds:
            with Stage(mounts=mounts) as stage:
                end.send(carry_out(stage, make_plan(seed, only)))


def _own_mounts() -> bool:
    """Have mounts that nobody else sees, where this user may."""
    if not ROOT or ctypes.CDLL(None).unshare(_CLONE_NEWNS):
        return False
    private = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)
    return private.returncode == 0
