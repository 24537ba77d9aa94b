"""One run: an experiment is fetched while faults strike, then once undisturbed, then looked at."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from asynchy.ssh.remote import Remote
from simulator.experiments import awkward_names, big_sparse_file, many_small_files, mx_experiment
from simulator.facility import Facility
from simulator.relay import Relay
from simulator.scratch import new_folder, remove
from tests.conftest import PYTHONS, USER, Home, Program, give, wait_until
from tests.faults import check
from tests.faults.check import EPN, Process
from tests.faults.plan import PORTAL, Kind, Plan, Strike

_LIMIT = 60.0
"""Seconds that one command may take, however it is disturbed."""
_TIMEOUT = 2
"""Seconds of silence after which the program gives a connection up while it is disturbed."""
_A_WHILE = 0.4
"""Seconds that a connection is frozen where it goes on afterwards."""
_MORE = 64 << 10
"""Bytes after which it is looked again for a process that was not there."""
_LOOKS = 40
_SPARE = 24 << 20
"""Bytes that a small disk has to spare."""
_CODES = {0, 1, 4, 5, 6, 130, 143, -signal.SIGKILL}
"""The exit codes that a disturbed command may end with."""


@dataclass
class Result:
    """What a run found."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    struck: Counter[Kind] = field(default_factory=Counter)
    in_transfer: int = 0
    """Faults that struck after the transfer had begun."""
    missed: Counter[Kind] = field(default_factory=Counter)
    """Faults for which it was too late, or which this machine cannot make."""
    commands: int = 0
    seconds: float = 0.0
    log: str = ""


class Stage:
    """A facility behind a relay, for one run after another; a context manager.

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
            self.facility = stack.enter_context(Facility(self.place / "facility", run_as=USER))
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


def carry_out(stage: Stage, plan: Plan) -> Result:
    """Do one run; what it found wrong is told, not raised."""
    result = Result(plan)
    began = time.monotonic()
    with stage.home(plan) as home:
        run = _Run(stage, home, result)
        try:
            run.prepare()
            run.all()
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            result.problems.append(f"{type(error).__name__}: {error}")
        finally:
            run.clear()
        result.log = home.log
    result.seconds = time.monotonic() - began
    return result


class _Run:
    def __init__(self, stage: Stage, home: Home, result: Result) -> None:
        self._stage, self._relay, self._facility = stage, stage.relay, stage.facility
        self._home, self._result, self._plan = home, result, result.plan
        self._vault = home.storage / "ny79"
        self._copy = self._vault / EPN
        if self._plan.command == "mxsync":
            self._copy /= "data"
        self._full: list[Path] = []

    def prepare(self) -> None:
        """Make the experiment and what the command needs to know of it."""
        plan = self._plan
        source = self._source = self._facility.experiment("mx", EPN)
        mx_experiment(source, EPN, frames=plan.frames, frame_bytes=30_000, seed=plan.seed)
        for number, size in enumerate(plan.big):
            _big_file(source / "frames" / f"big_{number}.h5", size, plan.seed + number)
        many_small_files(source, plan.small, seed=plan.seed)
        awkward_names(source)
        give(source)
        self._bytes = sum(found.st_size for found in _files(source))
        self._home.visit(EPN)
        self._configure(timeout=_TIMEOUT)
        if plan.command != "mxsync":
            run = self._home.program.run("asynchy", "--config", self._home.config, "walk")
            assert run.returncode == 0, run.stderr

    def all(self) -> None:
        """The command, as often as the faults need, then once undisturbed."""
        strikes = deque(self._plan.strikes)
        self._relay.rate = self._plan.rate
        while strikes and not check.is_complete(self._home) and not self._result.problems:
            self._disturbed(strikes)
        self._result.missed.update(strike.kind for strike in strikes)
        if self._result.problems:
            return
        self._relay.rate = None
        self._configure(timeout=60)
        process = self._start()
        out, err = process.communicate(timeout=_LIMIT)
        self._note([] if process.returncode == 0 else [f"undisturbed it fails: {out} {err}"])
        wait_until(lambda: not self._facility.sessions(), 5)
        remote = Remote(self._facility.host, self._facility.user, self._relay.port)
        self._note(check.end(self._home, self._source, self._copy, remote))

    def clear(self) -> None:
        """Leave the stage as it was."""
        for process in check.processes(self._home.place):
            os.kill(process.pid, signal.SIGKILL)
        self._mend()
        self._facility.portal.clear_visits()
        remove(self._source)

    def _configure(self, **keys: object) -> None:
        self._home.configure(
            port=self._relay.port,
            known_hosts=str(self._stage.known_hosts),
            equipment=[{"id": 23}, {"id": 24}],
            engine=self._plan.engine,
            **{**self._plan.keys, **keys},
        )

    def _start(self) -> subprocess.Popen[str]:
        self._result.commands += 1
        config = self._home.config
        if self._plan.command == "mxsync":
            return self._home.program.start("mxsync", "--config", config, "--execute", "--once")
        dest = ("--partial", "--dest", self._vault)
        return self._home.program.start(
            "asynchy", "--config", config, *self._plan.command.split(), *dest
        )

    def _disturbed(self, strikes: deque[Strike]) -> None:
        """Run the command while faults strike, until it has ended."""
        portal = strikes.popleft().how if strikes[0].kind is Kind.PORTAL else ""
        if portal:
            self._facility.portal.set_fault(**PORTAL[portal])
            self._result.struck[Kind.PORTAL] += 1
        logged = len(self._home.log)
        with self._start() as process:
            try:
                self._strike_all(strikes, process, logged)
                out, err = process.communicate(timeout=_LIMIT)
            finally:
                self._relay.let_go()
                if process.poll() is None:
                    process.kill()
        wait_until(lambda: not check.processes(self._home.place), 6)
        self._mend()
        code = process.returncode
        self._note([] if code in _CODES else [f"exit code {code}"])
        self._note(check.words(out + err + self._home.log[logged:]))
        self._note(check.instant(self._home, self._source, self._copy))
        complete = check.is_complete(self._home)
        if portal and "once" not in portal and complete:
            self._note([f"complete while the portal says {portal}"])
        if code == 0 and not complete:
            self._note(["exit code 0, but not complete"])

    def _mend(self) -> None:
        """What a round did to the world is undone."""
        self._relay.let_go()
        self._relay.thaw()
        self._facility.start_sshd()
        self._facility.portal.clear_faults()
        for path in self._full:
            path.unlink()
        self._full.clear()

    def _note(self, lines: list[str]) -> None:
        self._result.problems += lines[:10]

    def _strike_all(
        self, strikes: deque[Strike], process: subprocess.Popen[str], logged: int
    ) -> None:
        while strikes and strikes[0].kind is not Kind.PORTAL:
            strike = strikes[0]
            self._relay.tell_after(self._count(strike), hold=strike.delay is None)
            aftermath = self._struck(strike, process)
            if aftermath is None and process.poll() is not None:
                return  # its turn comes when the command is run again
            strikes.popleft()
            if aftermath is None:
                self._result.missed[strike.kind] += 1
                continue
            self._result.struck[strike.kind] += 1
            self._result.in_transfer += ": begins:" in self._home.log[logged:]
            if aftermath is not _nothing:
                self._relay.let_go()
                aftermath()
        self._relay.let_go()

    def _count(self, strike: Strike) -> int:
        """The bytes after which it strikes."""
        scratch = self._copy.parent / f".asynchy-{self._copy.name}"
        found = [*_files(self._copy), *_files(scratch)]
        at_home = sum(min(one.st_size, 512 * one.st_blocks) for one in found)
        return int(strike.moment * max(self._bytes - at_home, 1 << 20))

    def _struck(self, strike: Strike, process: subprocess.Popen[str]) -> Callable[[], None] | None:
        """Strike once the moment has come; what is to follow, None where it did not come."""
        if strike.kind is Kind.DISK and not self._stage.mounts:
            return None
        for _ in range(_LOOKS):
            wait_until(lambda: self._relay.wait(0.01) or process.poll() is not None, _LIMIT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(strike.delay or 0)
            if process.poll() is not None:
                return None
            aftermath = self._strike(strike, process)
            if aftermath is not None:
                return aftermath
            self._relay.tell_after(_MORE, hold=strike.delay is None)
        return None

    def _strike(self, strike: Strike, process: subprocess.Popen[str]) -> Callable[[], None] | None:
        """Do it; None where there is nothing that it could strike now."""
        one = None if strike.how.startswith("all") else strike.which
        match strike.kind:
            case Kind.COMMAND:
                process.kill()
            case Kind.STOP:
                process.send_signal(signal.Signals[f"SIG{strike.how}"])
            case Kind.SESSION:
                return _killed(sorted(self._facility.sessions()), strike.which)
            case Kind.SSHD:
                return self._sshd(strike, process)
            case Kind.RESET if self._relay.connections:
                self._relay.reset(one)
            case Kind.FROZEN if self._relay.connections:
                self._relay.freeze(one)
                return lambda: self._thaw(strike, process)
            case Kind.DISK:
                self._fill(self._home.place if "logs" in strike.how else self._vault)
            case kind if kind in _VICTIMS:
                found = filter(_VICTIMS[kind], check.processes(self._home.place))
                return _killed([victim.pid for victim in found], strike.which)
            case _:
                return None
        return _nothing

    def _sshd(self, strike: Strike, process: subprocess.Popen[str]) -> Callable[[], None]:
        missed = self._relay.refused
        self._facility.stop_sshd()
        if strike.how == "back at once":
            self._facility.start_sshd()
            return _nothing
        if strike.how == "back at the end":
            return lambda: None

        def back() -> None:
            wait_until(lambda: self._relay.refused > missed or process.poll() is not None, _LIMIT)
            self._facility.start_sshd()

        return back

    def _thaw(self, strike: Strike, process: subprocess.Popen[str]) -> None:
        if "a while" in strike.how:
            time.sleep(_A_WHILE)
        else:
            wait_until(lambda: not self._relay.frozen or process.poll() is not None, _LIMIT)
        self._relay.thaw()

    def _fill(self, folder: Path) -> None:
        path = folder / "something else"
        self._full.append(path)
        with path.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):  # ENOSPC
                    while True:
                        file.write(bytes(size))


_VICTIMS: dict[Kind, Callable[[Process], bool]] = {
    Kind.STREAM: lambda one: one.name in PYTHONS and b"asynchy.transfer.worker" in one.command,
    Kind.APART: lambda one: one.name in PYTHONS and b"asynchy.service.apart" in one.command,
    Kind.SSH: lambda one: one.name == "ssh",
    Kind.RSYNC: lambda one: one.name == "rsync",
}


def _nothing() -> None:
    """No more is to be done."""


def _killed(pids: list[int], which: float) -> Callable[[], None] | None:
    if not pids:
        return None
    try:
        os.kill(pids[min(int(which * len(pids)), len(pids) - 1)], signal.SIGKILL)
    except ProcessLookupError:
        return None
    return _nothing


def _files(folder: Path) -> Iterator[os.stat_result]:
    """Every regular file below a folder, as far as it is still there."""
    for place, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            with suppress(FileNotFoundError):
                found = os.lstat(place + b"/" + name)
                if stat.S_ISREG(found.st_mode):
                    yield found


def _big_file(path: Path, size: int, seed: int) -> None:
    if size > 32 << 20:
        big_sparse_file(path, size)
        return
    path.write_bytes(random.Random(seed).randbytes(size))
    os.utime(path, (1_461_880_800, 1_461_880_800))
