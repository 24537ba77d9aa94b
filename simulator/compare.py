"""Two trees byte for byte: the facility's, and what is at home."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_BLOCK_BYTES = 8 << 20


def compare_trees(source: Path, copy: Path, *, modes: bool = True) -> list[str]:
    """What differs between an experiment and its copy, as lines to read; none where all is well.

    Every file and folder must be there with its bytes, its time in whole seconds and its mode,
    and nothing else; dot files other than `.info`, symbolic links and special files must not.
    """
    for tree in (source, copy):
        if tree.is_symlink() or not tree.is_dir():
            return [f"no folder: {_shown(os.fsencode(tree))}"]
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

    `Dg+s,ug+w,o-wx,ug+X,u+r`, and setuid and sticky never, setgid on folders alone.
    """
    is_folder = stat.S_ISDIR(mode)
    bits = (mode & 0o777 | 0o620) & ~0o003
    if is_folder or mode & 0o111:  # `X` looks at the mode as it was before `o-wx`
        bits |= 0o110
    return bits | 0o2000 if is_folder else bits


def _walk(root: bytes, *, brought: bool) -> Iterator[tuple[bytes, bytes]]:
    """Relative name and path of all below a folder; where `brought`, only what comes home."""
    pending = [b""]
    yield b".", root
    while pending:
        below = pending.pop()
        folder = root + b"/" + below if below else root
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        for name in names:
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
        at = 0
        while at < size:
            at = min(_next_data(one, at, size), _next_data(two, at, size))
            if os.pread(one, _BLOCK_BYTES, at) != os.pread(two, _BLOCK_BYTES, at):
                return False
            at += _BLOCK_BYTES
        return True
    finally:
        os.close(one)
        os.close(two)


def _next_data(file: int, at: int, size: int) -> int:
    """Where the next bytes are that are not in a hole; `size` where there are none."""
    try:
        return os.lseek(file, at, os.SEEK_DATA)
    except OSError as error:
        # ENXIO: a hole up to the end. Any other: this file system does not tell its holes.
        return size if error.errno == errno.ENXIO else at


def _shown(name: bytes) -> str:
    return ascii(os.fsdecode(name))
