"""Become another program, one that gets a signal when its parent dies.

Run as a script in a fresh interpreter: `python -I -S pdeathsig_exec.py SIGNAL PARENT COMMAND
[ARG…]`. PARENT is the process id that is expected as parent, or 0 if it is not known. It is a
script and no `preexec_fn`, because Python code between fork and exec can hang in a process with
threads.
prctl(2): the signal is tied to the thread that started the child, and is kept across exec.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2)'s number for it."""


def main(arguments: list[str]) -> int:
    """Ask for the signal, then exec the command; 127 where it cannot be started."""
    number, parent, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent if parent else os.getppid() == 1:
        return 128 + signal.SIGTERM  # the parent died before it could be asked for
    try:
        os.execvp(command[0], command)  # noqa: S606 - an argument list
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
