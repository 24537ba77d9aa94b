"""SIGHUP before a command knows what it means to it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from asynchy.model.cancellation import Stop

EARLY = "import asynchy.cli, os, signal; os.kill(os.getpid(), signal.SIGHUP)\n"
SERVICE = "from asynchy.cli.signals import on_hangup; on_hangup(lambda: print('looks now'))"
COMMAND = (
    "from asynchy.cli.signals import Signals; from asynchy.model.cancellation import Stop\n"
    "stop = Stop(); signals = Signals(stop); print(stop.requested, int(signals.exit_code))"
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


def test_sighup_is_noted_before_a_module_is_loaded_that_takes_time() -> None:
    code = (
        "import builtins, sys\n"
        "import _signal\n"
        "handled = []\n"
        "load = builtins.__import__\n"
        "def loading(name, *rest, **more):\n"
        "    if name in {'signal', 'enum', 'typing', 'threading'}:\n"
        "        handled.append(_signal.getsignal(_signal.SIGHUP) != _signal.SIG_DFL)\n"
        "    return load(name, *rest, **more)\n"
        "builtins.__import__ = loading\n"
        "import asynchy.cli.main\n"
        "print(bool(handled) and all(handled))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "True", run.stderr


@pytest.mark.parametrize(("error", "said"), [("KeyboardInterrupt", False), ("ValueError", True)])
def test_an_interrupt_while_code_is_loaded_prints_no_traceback(error: str, said: bool) -> None:
    code = f"import asynchy.cli\nraise {error}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == (1 if said else -signal.SIGINT)
    assert ("Traceback" in run.stderr) is said


def test_an_interrupt_before_a_command_handles_it_has_its_exit_code() -> None:
    code = (
        "import signal, sys\n"
        "from asynchy.cli import main\n"
        "from asynchy.cli.commands import audit\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it\n"
        "audit.load_shared = lambda _: signal.raise_signal(signal.SIGINT)\n"
        "sys.argv = ['asynchy', 'audit']\n"
        "main.asynchy()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


def test_a_request_to_stop_all_reaches_each_part_and_no_part_reaches_the_others() -> None:
    whole = Stop()
    one, other = whole.child(), whole.child()
    one.request()
    assert (one.requested, other.requested, whole.requested) == (True, False, False)
    whole.request()
    assert (other.requested, other.forced, one.forced) == (True, False, True)
    whole.request()
    assert other.forced
    assert whole.child().requested
