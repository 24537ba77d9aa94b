"""Checks an SSH key file on this machine, without a server."""

from __future__ import annotations

import shutil
from pathlib import Path

from asynchy.errors import ToolMissing
from asynchy.model.cancellation import Stop
from asynchy.ssh import subprocess_runner
from asynchy.ssh.error_causes import Explanation, cause
from asynchy.ssh.server import NAME_A_FILE, other_than_file

_PUBLIC = (b"ssh-", b"ecdsa-", b"sk-")
"""How a public key begins: ssh(1) takes one, too, if an agent has the private key."""
_TIMEOUT = 10  # seconds
_REFUSED = "\nPermission denied (publickey)."
"""ssh's last message if no key is accepted; without it, `cause` ignores a problem of one key.
"""


def key_file_problem(path: Path) -> Explanation | None:
    """Why ssh would not use a key file, with reason and hint; None: it would.

    A passphrase is accepted: an agent may have the key.

    Raises:
        ToolMissing: ssh-keygen is not installed.
    """
    if (reason := other_than_file(path)) is not None:  # to open a pipe would wait
        return Explanation(reason, NAME_A_FILE)
    try:
        with path.open("rb") as file:
            if file.read(16).startswith(_PUBLIC):
                return None
    except OSError as error:
        return cause(f"Warning: Identity file {path} not accessible: {error.strerror}.{_REFUSED}")
    command = ["ssh-keygen", "-y", "-P", "", "-f", str(path)]
    if shutil.which(command[0]) is None:
        raise ToolMissing("ssh-keygen is not installed", hint="install the package openssh-client")
    result = subprocess_runner.run(
        command,
        stop=Stop(),
        on_stdout=lambda _line: None,
        on_stderr=lambda _line: None,
        environment={"LC_ALL": "C"},
        idle_timeout=_TIMEOUT,
    )
    if result.code == 0 or "passphrase" in result.stderr:
        return None
    return cause(f"{result.stderr}{_REFUSED}")
