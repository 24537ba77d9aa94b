"""Two trees byte for byte: the facility's, and what is at home."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 8 << 20


def compare_trees(source: Path, copy: Path, *, modes: bool = True) -> list[str]:
    """What differs between an experiment and its copy, as lines to read; none where all is well.

    Every file and folder must be there with its bytes, its time in whole seconds and its mode,
    and nothing else; dot files other than `.info`, symbolic links and special files must not.
    """
    wanted = dict(_walk(os.fsencode(source), brought=True))
    found = dict(_walk(os.fsencode(copy), brought=False))
    lines = [f"missing: {_shown(name)}" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"not in the source: {_shown(name)}" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        difference = _difference(wanted[name], found[name], modes=modes)
        if difference:
            lines.append(f"{difference}: {_shown(name)}")
    return lines


def mode_at_home(mode: int) -> int:
    """The mode that a file or folder of the facility has at home.

    `Dg+s,ug+w,o-wx,ug+X`, and setuid and sticky never, setgid on folders alone.
    """
    bits = mode & 0o777
    bits |= 0o220
    bits &= ~0o003
    if stat.S_ISDIR(mode) or bits & 0o111:  # `X`: once `o-wx` has been applied
        bits |= 0o110
    return bits | (0o2000 if stat.S_ISDIR(mode) else 0)


def _walk(root: bytes, *, brought: bool) -> Iterator[tuple[bytes, bytes]]:
    """Relative name and path of all below a folder; where `brought`, only what comes home."""
    pending = [b""]
    if os.path.isdir(root):
        yield b".", root
    while pending:
        below = pending.pop()
        folder = root + b"/" + below if below else root
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if brought and name.startswith(b".") and name != b".info":
                continue
            relative = below + b"/" + name if below else name
            path = root + b"/" + relative
            mode = os.lstat(path).st_mode
            if brought and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                continue
            yield relative, path
            if stat.S_ISDIR(mode):
                pending.append(relative)


def _difference(source: bytes, copy: bytes, *, modes: bool) -> str | None:
    one, two = os.lstat(source), os.lstat(copy)
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(two.st_mode):
        return "of another kind"
    if stat.S_ISREG(one.st_mode):
        if one.st_size != two.st_size:
            return f"{one.st_size} bytes there, {two.st_size} here"
        if not _same_bytes(source, copy, one.st_size):
            return "other bytes"
    if one.st_mtime_ns // 10**9 != two.st_mtime_ns // 10**9:
        return f"modified at {one.st_mtime_ns} there, {two.st_mtime_ns} here"
    wanted, found = mode_at_home(one.st_mode), stat.S_IMODE(two.st_mode)
    if modes and wanted != found:
        return f"mode {found:o} and not {wanted:o}"
    return None


def _same_bytes(source: bytes, copy: bytes, size: int) -> bool:
    one, two = os.open(source, os.O_RDONLY), os.open(copy, os.O_RDONLY)
    try:
        for at in range(0, size, _BLOCK):
            if os.pread(one, _BLOCK, at) != os.pread(two, _BLOCK, at):
                return False
        return True
    finally:
        os.close(one)
        os.close(two)


def _shown(name: bytes) -> str:
    return ascii(os.fsdecode(name))
