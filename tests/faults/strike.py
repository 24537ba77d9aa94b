"""How each fault is made."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.conftest import PYTHONS, Home, wait_until
from tests.faults.check import Process, processes
from tests.faults.plan import PORTAL, Kind, Strike
from tests.faults.stage import Stage

LIMIT = 60.0
"""Seconds that one command may take, however it is disturbed."""
_A_WHILE = 0.4
"""Seconds that a connection is frozen, or a disk full, where it goes on afterwards."""

Aftermath = Callable[[], None]
"""What is to follow once everything passes again."""

_VICTIMS: dict[Kind, Callable[[Process], bool]] = {
    Kind.STREAM: lambda one: one.forked and b"asynchy.engines.sftp.worker" in one.command,
    Kind.FORK_SERVER: lambda one: not one.forked and b"asynchy.engines.sftp.worker" in one.command,
    Kind.APART: lambda one: (
        one.name in PYTHONS and b"asynchy.repatriation.fetch_subprocess" in one.command
    ),
    Kind.SSH: lambda one: one.name == "ssh",
    Kind.RSYNC: lambda one: one.name == "rsync",
}


def nothing() -> None:
    """No more is to follow."""


class Striker:
    """Makes faults, and undoes them; `goes_on`: what lasts is undone while the command runs."""

    def __init__(self, stage: Stage, home: Home, *, goes_on: bool) -> None:
        self._goes_on = goes_on
        self._stage, self._relay, self._facility = stage, stage.relay, stage.facility
        self._home = home
        self._full: list[Path] = []

    def portal(self, strike: Strike) -> None:
        """Let the portal go wrong from now on."""
        self._facility.portal.set_fault(**PORTAL[strike.how])

    def can(self, strike: Strike) -> bool:
        """Whether this machine can make it."""
        return strike.kind is not Kind.DISK or self._stage.mounts

    def strike(
        self, strike: Strike, process: subprocess.Popen[str], rests: Callable[[], bool]
    ) -> Aftermath | None:
        """Do it; None where there is nothing that it could strike now.

        `rests`: whether the command asks nothing of the facility any more.
        """
        one = None if strike.how.startswith("all") else strike.which
        match strike.kind:
            case Kind.COMMAND:
                process.kill()
            case Kind.STOP:
                process.send_signal(signal.Signals[f"SIG{strike.how}"])
            case Kind.SESSION:
                return _killed(sorted(self._facility.sessions()), strike.which)
            case Kind.SSHD:
                return self._sshd(strike, rests)
            case Kind.RESET if self._relay.connections:
                self._relay.reset(one)
            case Kind.FROZEN if self._relay.connections:
                self._relay.freeze(one)
                return lambda: self._thaw(strike, rests)
            case Kind.DISK:
                state = strike.how == "catalogue and logs"
                self._fill(self._home.place if state else self._home.storage / "ny79")
                return self._make_room if self._goes_on else nothing
            case kind if kind in _VICTIMS:
                found = filter(_VICTIMS[kind], processes(self._home.place))
                return _killed([victim.pid for victim in found], strike.which)
            case _:
                return None
        return nothing

    def mend(self) -> None:
        """Undo what was done to the world."""
        self._relay.let_go()
        self._relay.thaw()
        self._facility.start_sshd()
        self._facility.portal.clear_faults()
        self._empty()

    def _sshd(self, strike: Strike, rests: Callable[[], bool]) -> Aftermath:
        before = self._relay.refused
        self._facility.stop_sshd()

        def back() -> None:
            if strike.how == "back at once":
                self._facility.start_sshd()
            elif strike.how == "back when missed" or self._goes_on:
                wait_until(lambda: self._relay.refused > before or rests(), LIMIT)
                self._facility.start_sshd()

        return back

    def _thaw(self, strike: Strike, rests: Callable[[], bool]) -> None:
        if "a while" in strike.how:
            time.sleep(_A_WHILE)
        else:
            wait_until(lambda: not self._relay.frozen or rests(), LIMIT)
        self._relay.thaw()

    def _fill(self, folder: Path) -> None:
        path = folder / "something else"
        self._full.append(path)
        with path.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):  # ENOSPC
                    while True:
                        file.write(bytes(size))

    def _make_room(self) -> None:
        time.sleep(_A_WHILE)
        self._empty()

    def _empty(self) -> None:
        for path in self._full:
            path.unlink()
        self._full.clear()


def _killed(pids: list[int], which: float) -> Aftermath | None:
    if not pids:
        return None
    try:
        os.kill(pids[min(int(which * len(pids)), len(pids) - 1)], signal.SIGKILL)
    except ProcessLookupError:
        return None
    return nothing
