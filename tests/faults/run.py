"""One run: an experiment is fetched while faults strike, then once undisturbed, then looked at."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from asynchy.ssh.server import Server
from simulator.scratch import remove
from tests.conftest import SOON, Home, wait_until
from tests.faults import check
from tests.faults.check import EPN
from tests.faults.plan import Kind, Plan, Strike
from tests.faults.stage import Stage
from tests.faults.strike import LIMIT, Aftermath, Striker, nothing

_TIMEOUT = 4
"""Seconds of silence after which the program gives a connection up while it is disturbed."""
_MORE = 64 << 10
"""Bytes after which it is looked again for a process that was not there."""
_LOOKS = 40
_COMMANDS = 8
"""Disturbed commands at most; each of them meets a fault, unless it ends before."""
_CYCLES = 2
"""Cycles of the service in which a fault's moment does not come, after which it never will."""
_WAITS = "next look in "
"""What the service logs after a cycle."""
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
        self._stage, self._relay = stage, stage.relay
        self._home, self._result, self._plan = home, result, result.plan
        self._is_service = self._plan.command == "service"
        self._striker = Striker(stage, home, goes_on=self._is_service)
        self._by_portal = self._plan.command in ("mxsync", "service")
        self._vault = home.storage / "ny79"
        self._copy = self._vault / EPN / "data" if self._by_portal else self._vault / EPN

    def prepare(self) -> None:
        """Make the experiment and what the command needs to know of it."""
        self._source = self._stage.experiment(self._plan)
        self._bytes = sum(found.st_size for found in _files(self._source))
        self._home.visit(EPN)
        self._configure(timeout=_TIMEOUT)
        if not self._by_portal:
            run = self._home.program.run("asynchy", "--config", self._home.config, "walk")
            assert run.returncode == 0, run.stderr

    def all(self) -> None:
        """The command, as often as the faults need, then once undisturbed."""
        strikes = deque(self._plan.strikes)
        self._relay.rate = self._plan.rate
        for _ in range(_COMMANDS):
            if strikes and not check.is_complete(self._home) and not self._result.problems:
                self._disturbed(strikes)
        self._result.missed.update(strike.kind for strike in strikes)
        if self._result.problems:
            return
        self._relay.rate = None
        self._configure(timeout=60)
        with self._start(self._command("mxsync")) as process:
            out, err = process.communicate(timeout=LIMIT)
        self._note([] if process.returncode == 0 else [f"undisturbed it fails: {out} {err}"])
        wait_until(lambda: not self._stage.facility.sessions())
        facility = self._stage.facility
        remote = Server(facility.host, facility.user, self._relay.port)
        self._note(
            check.end(self._home, self._source, self._copy, remote, by_portal=self._by_portal)
        )

    def clear(self) -> None:
        """Leave the stage as it was."""
        for process in check.processes(self._home.place):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self._striker.mend()
        self._stage.facility.portal.clear_visits()
        remove(self._source)

    def _configure(self, **keys: object) -> None:
        self._home.configure(
            port=self._relay.port,
            known_hosts=str(self._stage.known_hosts),
            equipment=[{"id": 23}, {"id": 24}],
            engine=self._plan.engine,
            retry_minutes=0.01,
            **{**self._plan.keys, **keys},
        )

    def _command(self, by_portal: str) -> list[str | Path]:
        """The command line; `by_portal`: mxsync or service, where the portal is asked."""
        config = ("--config", self._home.config)
        if self._by_portal:
            once = [] if by_portal == "service" else ["--once"]
            return ["mxsync", *config, "--execute", *once]
        command = self._plan.command.split()
        return ["asynchy", *config, *command, "--partial", "--dest", self._vault]

    def _start(self, command: list[str | Path]) -> subprocess.Popen[str]:
        self._result.commands += 1
        return self._home.program.start(*command)

    def _disturbed(self, strikes: deque[Strike]) -> None:
        """Run the command while faults strike, until it has ended."""
        logged = len(self._home.log)
        portal = strikes.popleft() if strikes[0].kind is Kind.PORTAL else None
        if portal:
            self._striker.portal(portal)
            self._result.struck[Kind.PORTAL] += 1
        with self._start(self._command(self._plan.command)) as process:
            try:
                self._strike_all(strikes, process, logged)
                out, err = process.communicate(timeout=LIMIT)
            finally:
                self._relay.let_go()
                if process.poll() is None:
                    process.kill()
        wait_until(lambda: not check.processes(self._home.place), SOON)
        complete = check.is_complete(self._home)
        if portal and not portal.how.endswith("once") and complete:
            self._note([f"complete while the portal says {portal.how}"])
        self._striker.mend()
        code = process.returncode
        self._note([] if code in _CODES else [f"exit code {code}"])
        self._note(check.words(out + err + self._home.log[logged:]))
        self._note(check.instant(self._home, self._source, self._copy))
        if code == 0 and not self._is_service and not complete:
            self._note(["exit code 0, but not complete"])

    def _strike_all(
        self, strikes: deque[Strike], process: subprocess.Popen[str], logged: int
    ) -> None:
        """Strike as long as the command goes on; what is left strikes when it is run again."""
        command = _Command(process, self._home, logged, is_service=self._is_service)
        while strikes and strikes[0].kind is not Kind.PORTAL:
            strike = strikes[0]
            command.begin()
            aftermath = self._struck(strike, command) if self._striker.can(strike) else None
            if command.is_over and aftermath is None:
                break
            strikes.popleft()
            if aftermath is None:
                self._result.missed[strike.kind] += 1
                continue
            self._result.struck[strike.kind] += 1
            self._result.in_transfer += ": begins:" in self._home.log[logged:]
            if aftermath is not nothing:
                self._relay.let_go()
                aftermath()
        else:
            self._relay.let_go()
            if self._is_service:
                command.rest()
        self._relay.let_go()
        command.stop()

    def _struck(self, strike: Strike, command: _Command) -> Aftermath | None:
        """Strike once the moment has come; what is to follow, None where it did not come."""
        self._relay.tell_after(self._count(strike), hold=strike.delay is None)
        for _ in range(_LOOKS):
            wait_until(lambda: self._relay.wait(0.01) or command.is_over, LIMIT)
            with suppress(subprocess.TimeoutExpired):
                command.process.wait(strike.delay or 0)
            if command.is_over:
                return None
            aftermath = self._striker.strike(strike, command.process, lambda: command.rests)
            if aftermath is not None:
                return aftermath
            self._relay.tell_after(_MORE, hold=strike.delay is None)
        return None

    def _count(self, strike: Strike) -> int:
        """The bytes after which it strikes."""
        scratch = self._copy.parent / f".asynchy-{self._copy.name}"
        found = [*_files(self._copy), *_files(scratch)]
        at_home = sum(min(one.st_size, 512 * one.st_blocks) for one in found)
        return int(strike.moment * max(self._bytes - at_home, 1 << 20))

    def _note(self, lines: list[str]) -> None:
        self._result.problems += lines[:10]


class _Command:
    """A command that runs. A service goes on for ever, from cycle to cycle."""

    def __init__(
        self, process: subprocess.Popen[str], home: Home, logged: int, *, is_service: bool
    ) -> None:
        self.process = process
        self._home = home
        self._logged = logged
        self._is_service = is_service
        self._cycles = 0

    def begin(self) -> None:
        """What is asked below is asked for the time from now on."""
        self._cycles = self._since()

    @property
    def rests(self) -> bool:
        """Whether it has ended, or ended a cycle."""
        return self._has_ended(1)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or nothing more will come of it."""
        return self._has_ended(_CYCLES)

    def rest(self) -> None:
        """Wait for the end of a cycle."""
        self.begin()
        wait_until(lambda: self.rests, LIMIT)

    def stop(self) -> None:
        """Stop a service."""
        if self._is_service:
            self.process.send_signal(signal.SIGTERM)

    def _has_ended(self, cycles: int) -> bool:
        if self.process.poll() is not None:
            return True
        if not self._is_service:
            return False
        regular = f"{_WAITS}24 h" in self._home.log[self._logged :]
        return regular or self._since() >= self._cycles + cycles

    def _since(self) -> int:
        return self._home.log.count(_WAITS)


def _files(folder: Path) -> Iterator[os.stat_result]:
    """Every regular file below a folder, as far as it is still there."""
    for place, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            with suppress(FileNotFoundError):
                found = os.lstat(place + b"/" + name)
                if stat.S_ISREG(found.st_mode):
                    yield found
