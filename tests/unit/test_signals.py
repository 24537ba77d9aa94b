"""SIGHUP before a command knows what it means to it."""

from __future__ import annotations

import subprocess
import sys

import pytest

EARLY = "import asynchy.cli, os, signal; os.kill(os.getpid(), signal.SIGHUP)\n"
SERVICE = "from asynchy.cli.signals import on_hangup; on_hangup(lambda: print('looks now'))"
COMMAND = (
    "from asynchy.cli.signals import Signals; from asynchy.domain.stop import Stop\n"
    "stop = Stop(); signals = Signals(stop); print(stop.asked, int(signals.exit_code))"
)


@pytest.mark.parametrize(
    ("around", "code", "said"),
    [([], SERVICE, "looks now"), ([], COMMAND, "True 129"), (["nohup"], COMMAND, "False 143")],
    ids=["service", "command", "nohup"],
)
def test_sighup_while_a_command_is_loaded_does_not_kill_it_and_is_heard_later(
    around: list[str], code: str, said: str
) -> None:
    run = subprocess.run(
        [*around, sys.executable, "-c", EARLY + code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout.strip()) == (0, said)
