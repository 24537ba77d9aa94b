"""Runs what a unit starts with the restrictions that the unit has, without systemd as process 1.

    python unit_sandbox.py UNIT KEEP… -- COMMAND…      in a mount namespace of its own, as its root

Honoured are ProtectSystem=strict with ReadWritePaths, PrivateTmp, PrivateDevices, NoNewPrivileges,
CapabilityBoundingSet, SystemCallFilter, RestrictAddressFamilies, RestrictNamespaces and User, as
systemd.exec(5) describes them. Not honoured: what only hides or protects parts of the kernel's
own files (ProtectClock, ProtectKernel…, ProtectControlGroups, ProtectHostname). KEEP are folders
below /tmp that the command needs; a real service has none there.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

Directives = dict[str, list[str]]

_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000  # seccomp.h
_NOT_SUPPORTED, _NOT_PERMITTED = 97, 1  # EAFNOSUPPORT, EPERM
_EQUAL, _MASKED_EQUAL = 4, 7  # enum scmp_compare
_NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
"""CLONE_NEWNS and the others of clone(2)."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_KERNELS = ("/dev", "/proc", "/sys")


def directives(unit: Path) -> Directives:
    """What a unit says, each key with its values."""
    found: Directives = defaultdict(list)
    for line in unit.read_text(encoding="utf-8").splitlines():
        key, is_set, value = line.partition("=")
        if is_set and not line.startswith("#"):
            found[key].append(value)
    return found


def command_line(
    unit: Path, keep: list[Path], command: list[str], *, root: bool, tool: Path
) -> list[str]:
    """What starts a command as the unit would; as an ordinary user, in a user namespace.

    `tool`: a copy of this file that the unit's user can read.
    """
    said = directives(unit)
    user = [] if root else ["--map-root-user"]
    network = ["--net"] if said["PrivateNetwork"] == ["yes"] else []
    python = os.path.realpath(sys.executable)
    ours = [python, tool, unit, *keep, "--", *command]
    return ["unshare", "--mount", *user, *network, *map(str, ours)]


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", "-n", *map(str, arguments)], check=True)


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def _restrict_files(said: Directives, keep: list[Path]) -> None:
    _mount("--make-rprivate", "/")
    if said["PrivateTmp"] == ["yes"]:
        _private_tmp(keep)
    writable = [path for line in said["ReadWritePaths"] for path in line.split()]
    for folder in writable:
        _mount("--bind", folder, folder)
    if said["ProtectSystem"] == ["strict"]:
        _protect_system(writable, keep)
    if said["PrivateDevices"] == ["yes"]:
        _private_devices()


def _private_tmp(keep: list[Path]) -> None:
    kept = {path: os.open(path, os.O_PATH) for path in keep if path.is_relative_to("/tmp")}
    for folder in ("/tmp", "/var/tmp"):
        _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder)
    for path, handle in kept.items():
        path.mkdir(parents=True)
        subprocess.run(
            ["mount", "-n", "--no-canonicalize", "--bind", f"/proc/self/fd/{handle}", path],
            check=True, pass_fds=[handle],
        )  # fmt: skip


def _protect_system(writable: list[str], keep: list[Path]) -> None:
    free = (*_KERNELS, "/tmp", "/var/tmp", *writable)
    for point in _mount_points():
        if not any(Path(point).is_relative_to(folder) for folder in free):
            _mount("-o", "remount,bind,ro", point)
    for path in keep:
        if path.is_relative_to("/dev") or path.is_relative_to("/tmp"):
            _read_only(path, writable)


def _read_only(folder: Path, writable: list[str]) -> None:
    """A folder of a test that is in memory is read-only, too, but for what may be written."""
    _mount("--bind", folder, folder)
    _mount("-o", "remount,bind,ro", folder)
    for path in writable:
        if Path(path).is_relative_to(folder):
            _mount("--bind", path, path)
            _mount("-o", "remount,bind,rw", path)


def _private_devices() -> None:
    new = Path("/run")  # any folder will do until it is moved
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", new)
    for name in _DEVICES:
        (new / name).touch()
        _mount("--bind", f"/dev/{name}", new / name)
    (new / "shm").mkdir()
    _mount("--rbind", "/dev/shm", new / "shm")
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (new / name).symlink_to(f"/proc/self/fd{target}")
    _mount("--move", new, "/dev")


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint), ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64), ("second", ctypes.c_uint64),
    ]  # fmt: skip


class _Filter:
    """A seccomp filter, by the library that systemd uses: seccomp_rule_add_array(3)."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, action: int, name: str, *comparisons: _Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # not on this architecture
            return
        array = (_Comparison * max(1, len(comparisons)))(*comparisons)
        result = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(comparisons), array
        )
        assert result == 0, (name, result)

    def load(self) -> None:
        result = self._library.seccomp_load(self._context)
        assert result == 0, result


def _system_calls(group: str) -> set[str]:
    """The system calls of a group, such as `@system-service`, and of the groups in it."""
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    words = [line.strip() for line in listed.splitlines()[1:]]
    names = {word for word in words if word and word[0] not in "#@"}
    return names.union(*(_system_calls(word) for word in words if word.startswith("@")))


def _restrict_calls(said: Directives) -> None:
    filters = []
    if said["RestrictAddressFamilies"]:
        names = said["RestrictAddressFamilies"][0].split()
        allowed = {getattr(socket, name) for name in names}
        families = _Filter(_ALLOW)
        for family in set(range(64)) - allowed:
            families.add(
                _ERRNO | _NOT_SUPPORTED, "socket", _Comparison(0, _EQUAL, family)
            )  # fmt: skip
        filters.append(families)
    if said["RestrictNamespaces"] == ["yes"]:
        namespaces = _Filter(_ALLOW)
        for flag in _NAMESPACES:
            for name in ("clone", "unshare"):
                namespaces.add(
                    _ERRNO | _NOT_PERMITTED, name, _Comparison(0, _MASKED_EQUAL, flag, flag)
                )  # fmt: skip
        filters.append(namespaces)
    for group in said["SystemCallFilter"]:
        services = _Filter(_KILL_PROCESS)
        for name in _system_calls(group):
            services.add(_ALLOW, name)
        services.add(_ALLOW, "seccomp")  # for the filters that are loaded after it
        filters.append(services)
    for one in filters:
        one.load()


def main(unit: Path, keep: list[Path], command: list[str]) -> None:
    """Restrict this process, and become the command."""
    said = directives(unit)
    _restrict_files(said, keep)
    python = [sys.executable, __file__, "--calls", str(unit), *command]
    user = said["User"][0]
    setpriv = [shutil.which("setpriv") or "setpriv", "--no-new-privs"]
    if Path("/proc/self/uid_map").read_text(encoding="utf-8").split()[2] != "1":  # all users
        setpriv += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    if said["CapabilityBoundingSet"] == [""]:
        setpriv += ["--bounding-set=-all", "--inh-caps=-all"]
    os.execv(setpriv[0], [*setpriv, "--", *python])


if __name__ == "__main__":
    if sys.argv[1] == "--calls":
        _restrict_calls(directives(Path(sys.argv[2])))
        os.execv(sys.argv[3], sys.argv[3:])
    divider = sys.argv.index("--")
    main(Path(sys.argv[1]), list(map(Path, sys.argv[2:divider])), sys.argv[divider + 1 :])
