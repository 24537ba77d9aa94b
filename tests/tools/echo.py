"""A companion that says again what it hears, and ends as it is told."""

from __future__ import annotations

import os
import signal

from asynchy.ssh.fork_server import to_parent


def main(descriptor: int) -> None:
    pipe = to_parent(descriptor)
    try:
        while True:
            word = pipe.recv()
            if word == "end":
                os._exit(3)
            if word == "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if word == "raise":
                raise ValueError("as it was told")
            pipe.send((os.getpid(), word))
    except EOFError:
        return
