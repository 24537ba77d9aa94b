"""What a person does about a path that this user may not read or write."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path


def this_user() -> str:
    """The user that this process works as, as text for people: `user mx_sync`."""
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:  # a user without a name, as in a container
        return f"user {os.geteuid()}"


def reachable(check: Callable[[], bool]) -> bool:
    """The answer of `Path.exists`, `is_file` or `is_dir`; no, if this user may not get there.

    Before Python 3.14 they raise PermissionError for what is in a folder that may not be entered.
    """
    try:
        return check()
    except PermissionError:
        return False


def access_hint(path: Path) -> str:
    """Whose right is missing, and where: at the first folder on the way that may not be entered.

    It is for a path at which the kernel said EACCES.
    """
    for folder in reversed(path.absolute().parents):
        if reachable(folder.is_dir) and not os.access(folder, os.X_OK, effective_ids=True):
            return f"let {this_user()} enter the folder {folder}, or name another path"
    return f"let {this_user()} read {path}, or name another path"
