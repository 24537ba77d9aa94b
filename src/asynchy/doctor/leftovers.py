"""Finds the original programs on this machine, whose commands have the same names.

The distribution ASSyncy installs `mxsync` and `epnalert`, the original asynchy (0.1.0) installs
`asynchy`. pip lets one overwrite the commands of another, and removes them with either.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

from asynchy.model.diagnostic_result import DiagnosticResult

_WHAT = "installation"
_OURS = frozenset({"mxsync", "epnalert", "as-walker", "asynchy"})
_OF_AN_ORIGINAL = re.compile(
    rb"\bASSyncy\b|\basynchy\.cli\.base\b|EASY-INSTALL-ENTRY-SCRIPT: 'asynchy"
)
"""Text in the first lines of an original's commands, however pip made them."""
_SCRIPT_BYTES = 4096
_DESTINATION = re.compile(
    rb"^destination-root-path:[ \t]*[\"']?([^\"'#\r\n]*[^\"'#\s])", re.MULTILINE
)
_AGAIN = "install asynchy again"


def leftovers(root: Path | None) -> Iterator[DiagnosticResult]:
    """Each trace of an original that disturbs, or will; empty if there is none.

    `root`: the folder that all copies go to, if the config names it.
    """
    yield from _own_commands()
    yield from _in_this_environment()
    yield from _first_on_path()
    yield from running_originals(root)


def _own_commands() -> Iterator[DiagnosticResult]:
    """Commands that pip installed with us, and that are gone or another program's now."""
    folder = Path(sysconfig.get_path("scripts"))
    try:
        own_folder = distribution("asynchy")
    except PackageNotFoundError:
        return
    # Since Python 3.12, `files` leaves out what is missing.
    for name, *_ in csv.reader((own_folder.read_text("RECORD") or "").splitlines()):
        path = Path(os.path.normpath(str(own_folder.locate_file(name))))
        if path.name not in _OURS or path.parent != folder:
            continue
        if not path.exists():
            to_do = f"it went with an original that was removed: {_AGAIN}"
            yield DiagnosticResult(_WHAT, False, f"{path} is missing", to_do)
        elif is_original(path):
            commands = f"{path} starts the original program"
            to_do = f"remove the original from {sys.prefix}, then {_AGAIN}"
            yield DiagnosticResult(_WHAT, False, commands, to_do)


def _in_this_environment() -> Iterator[DiagnosticResult]:
    for found in distributions():
        name = found.metadata["Name"]
        if str(name).lower() == "assyncy":
            yield DiagnosticResult(
                _WHAT,
                True,
                f"{name} {found.version} is in the same environment, {sys.prefix}",
                f"`pip uninstall {name}` removes mxsync and epnalert: {_AGAIN} after it",
            )


def _first_on_path() -> Iterator[DiagnosticResult]:
    for name in sorted(_OURS):
        first_path = shutil.which(name)
        if first_path is not None and is_original(Path(first_path)):
            yield DiagnosticResult(
                _WHAT,
                True,
                f"the first {name} on PATH is the original program, {first_path}",
                f"remove it, or put {sysconfig.get_path('scripts')} before it on PATH",
            )


def running_originals(
    root: Path | None, processes: Path = Path("/proc")
) -> Iterator[DiagnosticResult]:
    """Processes of an original, as far as this user may see them; proc(5).

    `root`: the destination of our data; an original whose config names another place is ignored.
    """
    for folder in sorted(processes.glob("[0-9]*"), key=lambda folder: int(folder.name)):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended
            continue
        arguments = [argument.decode(errors="replace") for argument in line]
        paths = [Path(argument) for argument in arguments[:3] if argument.startswith("/")]
        program = next((path for path in paths if path.name in _OURS and is_original(path)), None)
        if program is not None and not _goes_elsewhere(folder, arguments, root):
            yield DiagnosticResult(
                _WHAT,
                False,
                f"process {folder.name} is the original program, {program}",
                "stop it before the first cycle: both would write into the same copies",
            )


def _goes_elsewhere(process: Path, arguments: Sequence[str], root: Path | None) -> bool:
    """Whether the config of a process is known to name another `destination-root-path`."""
    if root is None or "--config" not in arguments[:-1]:
        return False
    config = process / "cwd" / arguments[arguments.index("--config") + 1]
    try:
        option_value = _DESTINATION.search(config.read_bytes())
        return option_value is not None and not root.samefile(os.fsdecode(option_value[1]))
    except OSError:
        return False


def is_original(path: Path) -> bool:
    """Whether a command is that of an original; False if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return _OF_AN_ORIGINAL.search(stream.read(_SCRIPT_BYTES)) is not None
    except OSError:
        return False
