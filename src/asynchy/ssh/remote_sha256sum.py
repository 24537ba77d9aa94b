r"""SHA-256 of files at the facility, computed there: by its own `sha256sum`, in a shell.

The command is always the same text. Names go to its standard input, each ended by NUL, and never
become part of what a shell reads; `-z` has them come back as they are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable

from asynchy.errors import ListingError, Stopped
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped
from asynchy.ssh import connection_limit, subprocess_runner
from asynchy.ssh.error_causes import refuses_commands
from asynchy.ssh.rsync.output import explain, is_lost
from asynchy.ssh.server import Server

log = logging.getLogger(__name__)

_COMMAND = "xargs -0 -r sha256sum -z --"
_LINE = re.compile(rb"(?P<digest>[0-9a-f]{64}) [ *](?P<name>.+)", re.DOTALL)
_MAX_EXTRA_LINES = 100
"""Lines more than files were asked for, such as a banner's; a shell may talk without an end."""


def digests(  # noqa: PLR0913, PLR0917 - what, from where, and how long
    remote: Server,
    source: str,
    paths: Iterable[bytes],
    on_digest: Callable[[bytes, bytes], None],
    stop: Stop,
    idle_timeout: float,
) -> subprocess_runner.ProcessResult:
    """Hand over the path and the SHA-256 of each file below a folder that can be read there.

    After `idle_timeout` seconds without output it is ended.

    Raises:
        ListingError: the connection could not be made or broke off, or there was no output for too
            long, or far more than was asked for.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh is not installed.
    """
    prefix = f"{source}/".encode()
    names = [prefix + path for path in paths]
    lines_left = len(names) + _MAX_EXTRA_LINES

    def on_line(line: bytes) -> None:
        nonlocal lines_left
        lines_left -= 1
        if lines_left < 0:
            raise ListingError("sha256sum at the facility prints far more than it was asked for")
        found = parse(line)
        if found is not None and found[1].startswith(prefix):
            on_digest(found[1].removeprefix(prefix), found[0])

    with connection_limit.acquire(remote, stop, patient=True):
        result = subprocess_runner.run(
            [*remote.ssh_command(), "--", remote.host, _COMMAND],
            stop=stop,
            on_stdout=on_line,
            on_stderr=lambda line: log.debug("sha256sum: %s", escaped(line)),
            environment={},
            stdin=b"".join(name + b"\0" for name in names),
            idle_timeout=idle_timeout,
            nul_ends=True,
        )
    if result.stopped:
        raise Stopped("stopped while digests were made at the facility")
    if result.was_silent:
        raise ListingError(f"sha256sum at the facility printed nothing for {idle_timeout:.0f} s")
    if is_lost(result.code) and not refuses_commands(result.stderr):
        raise explain(result.code, result.stderr).as_error(ListingError)
    return result


def parse(line: bytes) -> tuple[bytes, bytes] | None:
    """The digest and the name in a line of `sha256sum -z`; None for anything else."""
    match = _LINE.fullmatch(line)
    return None if match is None else (bytes.fromhex(match["digest"].decode()), match["name"])
