"""What is wrong with an SSH key file on this machine, without a server."""

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
_SECONDS = 10
_REFUSED = "\nPermission denied (publickey)."
"""What ssh says behind a fault of a key; `cause` wants it: another key may have been accepted."""


def key_file_problem(path: Path) -> Explanation | None:
    """Why ssh would not use a key file, in the words for ssh itself; None: it would.

    It may have a passphrase: an agent may have the key.

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
    ended = subprocess_runner.run(
        command,
        stop=Stop(),
        on_stdout=lambda _line: None,
        on_stderr=lambda _line: None,
        environment={"LC_ALL": "C"},
        silence=_SECONDS,
    )
    if ended.code == 0 or "passphrase" in ended.stderr:
        return None
    return cause(f"{ended.stderr}{_REFUSED}")
