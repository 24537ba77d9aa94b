"""Where runs are played: a facility behind a relay, a home of its own for each, an experiment."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator.experiments import awkward_names, big_sparse_file, many_small_files, mx_experiment
from simulator.relay import Relay
from simulator.scratch import new_folder, remove
from tests.conftest import USER, Home, Program, give, quick_facility
from tests.faults.check import EPN
from tests.faults.plan import Kind, Plan

_SPARE = 24 << 20
"""Bytes that a small disk has to spare."""
_SPARSE = 32 << 20
"""Bytes from which on a file is made of holes, mostly."""
_YEAR_2016 = 1_461_880_800


class Stage:
    """A facility behind a relay, for one run; a context manager.

    `mounts`: whether disks may be mounted, because nobody else sees them.
    """

    def __init__(self, *, mounts: bool = False) -> None:
        self.mounts = mounts
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.place = new_folder("asynchy-faults-")
            stack.callback(remove, self.place)
            self.place.chmod(0o755)
            (self.place / "facility").mkdir()
            give(self.place)
            self.facility = stack.enter_context(quick_facility(self.place / "facility", USER))
            self.relay = stack.enter_context(Relay(self.facility.host, self.facility.port))
            self._stack = stack.pop_all()
        _, *key = self.facility.known_hosts.read_text().split()
        self.known_hosts = self.place / "known_hosts"
        address = f"[{self.facility.host}]:{self.relay.port}"
        self.known_hosts.write_text(" ".join([address, *key]) + "\n")
        give(self.place)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def experiment(self, plan: Plan) -> Path:
        """Make the experiment of a run; where it lies."""
        source = self.facility.experiment("mx", EPN)
        mx_experiment(source, EPN, frames=plan.frames, frame_bytes=30_000, seed=plan.seed)
        for number, size in enumerate(plan.big):
            _big_file(source / "frames" / f"big_{number}.h5", size, plan.seed + number)
        many_small_files(source, plan.small, seed=plan.seed)
        awkward_names(source)
        return give(source)

    @contextmanager
    def home(self, plan: Plan) -> Iterator[Home]:
        """Everything on our side for one run, on small disks where one is to be full."""
        place = self.place / "home"
        place.mkdir()
        with ExitStack() as stack:
            stack.callback(remove, place)
            small = self.mounts and any(one.kind is Kind.DISK for one in plan.strikes)
            if small:
                stack.enter_context(_disk(place, _SPARE, 0o755))
            home = Home(place, self.facility, Program(place, {"TMPDIR": str(place / "tmp")}))
            (place / "tmp").mkdir()
            if small:
                size = 2 * sum(plan.big) + _SPARE
                stack.enter_context(_disk(home.storage / "ny79", size, 0o2775))
            yield home


@contextmanager
def _disk(target: Path, size: int, mode: int) -> Iterator[None]:
    owner = f",uid={USER[0]},gid={USER[1]}" if USER else ""
    options = f"size={size},mode={mode:o}{owner}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)


def _big_file(path: Path, size: int, seed: int) -> None:
    if size > _SPARSE:
        big_sparse_file(path, size)
        return
    path.write_bytes(random.Random(seed).randbytes(size))
    os.utime(path, (_YEAR_2016, _YEAR_2016))
