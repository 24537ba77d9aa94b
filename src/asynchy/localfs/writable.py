"""Whether this user can write a file that is made, renamed or replaced in its folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from asynchy.config.file_access import access_hint, this_user


def unwritable(path: Path, companions: Iterable[str] = ()) -> tuple[str, str] | None:
    """The problem and the hint, if the file or its folder cannot be written; None: they can.

    Nothing is made or changed. `companions`: names of files in its folder that are written with it.
    """
    if _is_something_else(path):  # a link may lead to something without a path
        return _not_a_file(path)
    path = path.resolve()
    folder = path.parent
    if (problem := _unwritable_folder(folder, path)) is not None:
        return problem
    for file in (path, *(folder / name for name in companions)):
        problem = _unwritable_file(file)
        if problem is not None:
            return problem
    return None


def _unwritable_folder(folder: Path, path: Path) -> tuple[str, str] | None:
    try:
        if not folder.is_dir():
            problem = "is not a folder" if folder.exists() else "does not exist"
            return f"{path} cannot be written: {folder} {problem}", f"make the folder {folder}"
    except PermissionError as error:
        return f"{path} cannot be written: {error.strerror}", access_hint(path)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return (
            f"{path} cannot be written: no permission to write in {folder}",
            f"make {folder} writable for {this_user()}",
        )
    return None


def _unwritable_file(path: Path) -> tuple[str, str] | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}", f"look at {path}"
    if not stat.S_ISREG(mode):
        return _not_a_file(path)
    if not _may(path, os.R_OK | os.W_OK):
        hint = f"make {path} readable and writable for {this_user()}"
        return f"{path} cannot be written: no permission", hint
    return None


def _is_something_else(path: Path) -> bool:
    """Whether something other than a file is known to be there."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _not_a_file(path: Path) -> tuple[str, str]:
    return f"{path} cannot be written: it is not a file", "move it away, or correct the config"


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)
